"""Pulse sequences: the presets against the table of expected contrasts, the equations against a simulation of spins."""

from __future__ import annotations

import numpy as np
import pytest

from fedsynth.datasets.phantom.signals import InversionSpinEcho, Mprage, SpinEcho, SpoiledGradientEcho, response
from fedsynth.datasets.phantom.sites import PRESETS
from fedsynth.datasets.phantom.streams import stream
from fedsynth.datasets.phantom.tissues import AT_FIELD, INDEX, NAMES, of_subject

TISSUES_3T = AT_FIELD[3.0]

# Fractions of the strongest of WM, GM and CSF, without artefacts.
TISSUES = ("wm", "gm", "csf", "striatum", "oedema", "necrosis", "wmh", "fat")
SIGNALS = {
    ("ixi", "T1"): (1, 0.69, 0.12, 0.77, 0.58, 0.26, 0.71, 2.13),
    ("ixi", "T2"): (0.23, 0.35, 1, 0.31, 0.58, 0.86, 0.45, 0.30),
    ("ixi", "PD"): (0.73, 0.87, 1, 0.84, 0.97, 1.04, 0.87, 0.89),
    ("brats", "T1"): (1, 0.87, 0.44, 0.90, 0.87, 0.61, 0.93, 1.93),
    ("brats", "T2"): (0.29, 0.44, 1, 0.37, 0.71, 0.95, 0.57, 0.37),
    ("brats", "FLAIR"): (0.79, 1, 0.01, 0.89, 1.64, 1.08, 1.48, 1.12),
    ("midas", "T1"): (1, 0.81, 0.38, 0.84, 0.79, 0.53, 0.86, 2.21),
    ("midas", "T2"): (0.28, 0.41, 1, 0.36, 0.64, 0.89, 0.51, 0.35),
    ("oasis", "T1"): (1, 0.70, 0.17, 0.77, 0.63, 0.31, 0.75, 2.22),
    ("oasis", "T2"): (0.30, 0.44, 1, 0.38, 0.76, 0.97, 0.61, 0.39),
    ("oasis", "FLAIR"): (0.85, 1, 0.07, 0.93, 1.44, 0.88, 1.36, 1.19),
}


def levels(site: str, contrast: str) -> dict[str, float]:
    """The signal of every tissue of a preset, relative to the strongest of WM, GM and CSF."""
    preset = PRESETS[site]
    signal = preset.acquisitions[contrast].sequence.signal(AT_FIELD[preset.field])
    return dict(zip(NAMES, signal / signal[:3].max(), strict=True))


def test_every_contrast_has_its_row() -> None:
    assert set(SIGNALS) == {(site, contrast) for site, preset in PRESETS.items() for contrast in preset.acquisitions}


@pytest.mark.parametrize(("site", "contrast"), SIGNALS)
def test_signals_are_those_of_the_table(site: str, contrast: str) -> None:
    found = levels(site, contrast)
    assert [found[tissue] for tissue in TISSUES] == pytest.approx(SIGNALS[site, contrast], abs=0.02)


@pytest.mark.parametrize(("site", "contrast"), SIGNALS)
def test_tissues_are_in_the_order_of_the_table(site: str, contrast: str) -> None:
    s = levels(site, contrast)
    if contrast == "T1":
        assert s["fat"] > s["wm"] > s["gm"] > s["csf"]
        assert s["wm"] > s["oedema"] > s["necrosis"] > s["csf"]
    elif contrast == "FLAIR":
        assert s["oedema"] > s["wmh"] > s["gm"] > s["wm"] > 5 * s["csf"]
    else:
        assert s["csf"] > s["gm"] > s["wm"]
        assert s["oedema"] > s["gm"]
    assert s["bone"] < 0.2 * s["wm"]


def simulate(events: list[tuple[str, float]], t1: float, read: int) -> float:
    """The steady-state longitudinal magnetisation of a tissue before event `read` of a cycle of flips (degrees) and waits (ms).

    It is assumed, as in the closed forms, that no transverse magnetisation is left at a pulse.
    """
    mz = 0.3
    for _ in range(60):
        for number, (kind, value) in enumerate(events):
            before = mz if number == read else None
            mz = mz * np.cos(np.deg2rad(value)) if kind == "flip" else 1 + (mz - 1) * np.exp(-value / t1)
            if before is not None:
                seen = before
    return seen


@pytest.mark.parametrize(
    "sequence", [PRESETS["ixi"].acquisitions["T1"].sequence, PRESETS["oasis"].acquisitions["T1"].sequence]
)
def test_mprage_is_the_periodic_state_of_its_pulses(sequence: Mprage) -> None:
    lead = sequence.ti - sequence.pulses * sequence.spacing / 2
    tail = sequence.tr - lead - sequence.pulses * sequence.spacing
    train = [("flip", sequence.flip), ("wait", sequence.spacing)] * sequence.pulses
    events = [("flip", 180), ("wait", lead), *train, ("wait", tail)]
    mz = np.array([simulate(events, t1, read=2 + sequence.pulses) for t1 in TISSUES_3T.t1])
    echo = TISSUES_3T.pd * np.abs(mz) * np.sin(np.deg2rad(sequence.flip)) * np.exp(-sequence.te / TISSUES_3T.t2star)
    np.testing.assert_allclose(sequence.signal(TISSUES_3T), echo, rtol=1e-6)


def test_spoiled_gradient_echo_is_the_steady_state_of_its_pulses() -> None:
    sequence = SpoiledGradientEcho(tr=14, te=7.7, flip=25)
    events = [("flip", 25), ("wait", 14)] * 20
    mz = np.array([simulate(events, t1, read=0) for t1 in TISSUES_3T.t1])
    echo = TISSUES_3T.pd * mz * np.sin(np.deg2rad(25)) * np.exp(-7.7 / TISSUES_3T.t2star)
    np.testing.assert_allclose(sequence.signal(TISSUES_3T), echo, rtol=1e-6)


def test_spin_echo_and_flair_are_the_steady_states_of_their_pulses() -> None:
    plain, flair = SpinEcho(tr=620, te=12), InversionSpinEcho(tr=9000, te=120, ti=2450)
    for t1, t2, pd, echo, nulled in zip(
        TISSUES_3T.t1, TISSUES_3T.t2, TISSUES_3T.pd, plain.signal(TISSUES_3T), flair.signal(TISSUES_3T), strict=True
    ):
        mz = simulate([("flip", 90), ("wait", 6), ("flip", 180), ("wait", 614)], t1, read=0)
        assert echo == pytest.approx(pd * mz * np.exp(-12 / t2), rel=1e-6)
        mz = simulate([("flip", 180), ("wait", 2450), ("flip", 90), ("wait", 9000 - 2450)], t1, read=2)
        assert nulled == pytest.approx(pd * abs(mz) * np.exp(-120 / t2), rel=1e-6)


def test_response_holds_signal_and_log_derivatives() -> None:
    tissue = AT_FIELD[1.5]
    echo = SpinEcho(tr=8178, te=100)
    plain, by_t1, by_t2, by_pd = response(echo, tissue)
    np.testing.assert_allclose(plain, echo.signal(tissue), rtol=1e-6)
    np.testing.assert_allclose(by_pd, plain, rtol=1e-5)
    soft = tissue.t2 > 50  # where +-2 % of T2 is a small step
    np.testing.assert_allclose(by_t2[soft], (plain * 100 / tissue.t2)[soft], rtol=2e-3)
    step = response(echo, tissue._replace(t1=tissue.t1 * np.exp(0.01)))[0]
    np.testing.assert_allclose(step - plain, 0.01 * by_t1, atol=2e-4 * plain.max())


def test_flair_nulls_fluid_on_every_scanner_of_a_varied_site() -> None:
    nominal = PRESETS["brats"].acquisitions["FLAIR"].sequence
    for number in range(50):
        varied = nominal.jittered(stream("a test", number), 0.14)
        signal = varied.signal(TISSUES_3T)
        assert signal[INDEX["csf"]] < 0.35 * signal[INDEX["gm"]]
        assert signal[INDEX["oedema"]] > signal[INDEX["gm"]] > signal[INDEX["wm"]]
    assert nominal.jittered(stream("a test"), 0.0) == nominal


def test_people_differ_by_a_few_percent() -> None:
    people = [of_subject(3.0, stream("people", number)) for number in range(400)]
    for name, spread in (("t1", 0.035), ("t2", 0.035), ("pd", 0.02)):
        logs = np.log([getattr(person, name) for person in people]) - np.log(getattr(TISSUES_3T, name))
        assert logs.std() == pytest.approx(spread, rel=0.05)
        assert abs(logs.mean()) < 0.002
