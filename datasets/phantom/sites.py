"""The hospitals: their protocols, scanners and patients.

The presets imitate public data sets. TR, TE and flip angles of ixi and midas are those commonly quoted for IXI and MIDAS in the
literature on synthesis. These are nominal clinical values assumed here: the shot interval and TI of ixi's T1, everything of brats
(a collection of many centres, hence its large jitter), and the effective echo times of oasis.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from .signals import InversionSpinEcho, Mprage, Sequence, SpinEcho, SpoiledGradientEcho
from .streams import stream


@dataclass(frozen=True)
class Acquisition:
    """How one contrast is acquired."""

    sequence: Sequence
    thickness: float  # of a slice, mm
    fwhm: float  # in-plane resolution, mm
    snr: float  # of white matter in pixels of 1 mm


@dataclass(frozen=True)
class Hospital:
    """What distinguishes a site. Values are drawn evenly from ranges."""

    acquisitions: dict[str, Acquisition]
    field: float  # tesla
    fov: float  # mm
    stripped: bool  # whether everything but the brain is removed
    bias: float  # log-amplitude of the receive field
    dome: float  # brightening at the isocentre (transmit field)
    jitter: float  # log-sd of TR, TE, TI and flip angle from subject to subject
    misregistration: float  # sd of the shift of every contrast but T1, mm; of the rotation 0.6 of it, in degrees
    age: tuple[float, float]  # years
    tumour: bool
    wmh: tuple[float, float]  # load of white-matter hyperintensities


PRESETS = {
    "brats": Hospital(
        acquisitions={
            "T1": Acquisition(SpinEcho(tr=620, te=12), 3, 1.1, 34),
            "T2": Acquisition(SpinEcho(tr=4500, te=95), 3.5, 1.1, 28),
            "FLAIR": Acquisition(InversionSpinEcho(tr=9000, te=120, ti=2450), 4, 1.3, 20),
        },
        field=3.0, fov=200, stripped=True, bias=0.16, dome=0.10, jitter=0.14, misregistration=0.6,
        age=(30, 75), tumour=True, wmh=(0, 0.4),
    ),
    "ixi": Hospital(
        acquisitions={
            "T1": Acquisition(Mprage(tr=1800, ti=850, te=4.6, flip=8, spacing=9.8, pulses=96), 1.2, 0.94, 32),
            "T2": Acquisition(SpinEcho(tr=8178, te=100), 1.25, 0.94, 24),
            "PD": Acquisition(SpinEcho(tr=8178, te=8), 1.25, 0.94, 40),
        },
        field=1.5, fov=204, stripped=False, bias=0.10, dome=0, jitter=0.03, misregistration=0.5,
        age=(20, 70), tumour=False, wmh=(0, 0),
    ),
    "midas": Hospital(
        acquisitions={
            "T1": Acquisition(SpoiledGradientEcho(tr=14, te=7.7, flip=25), 1, 1, 26),
            "T2": Acquisition(SpinEcho(tr=7730, te=80), 1, 1, 30),
        },
        field=3.0, fov=216, stripped=False, bias=0.20, dome=0.14, jitter=0.02, misregistration=0.4,
        age=(18, 60), tumour=False, wmh=(0, 0),
    ),
    "oasis": Hospital(
        acquisitions={
            "T1": Acquisition(Mprage(tr=2400, ti=1000, te=3.16, flip=8, spacing=7, pulses=176), 1, 1, 36),
            "T2": Acquisition(SpinEcho(tr=3200, te=107), 1, 1, 22),
            "FLAIR": Acquisition(InversionSpinEcho(tr=9000, te=91, ti=2500), 5, 1.2, 26),
        },
        field=3.0, fov=208, stripped=True, bias=0.08, dome=0.06, jitter=0.04, misregistration=0.5,
        age=(55, 90), tumour=False, wmh=(0.3, 1.5),
    ),
}  # fmt: skip

KINDS = (
    "ixi",
    "brats",
    "midas",
    "oasis",
)  # the presets, in the order in which the sites of a larger federation use them
# Log-sd of TR, TE, TI and flip angle from one site of a kind to another. MPRAGE has less, so that its train fits into its cycle.
SITE_JITTER, SITE_JITTER_MPRAGE = 0.12, 0.06
YOUNGEST, OLDEST = 18.0, 90.0  # years
BANDS = (15.0, 40.0)  # years that the ages of a site span

COMMON: dict[str, Sequence] = {  # ixi's sequences, and oasis's FLAIR
    name: acquisition.sequence for site in ("oasis", "ixi") for name, acquisition in PRESETS[site].acquisitions.items()
}


def variant(kind: str, names: tuple[object, ...], same_kind: bool) -> Hospital:
    """A hospital like a preset, with ages of its own, drawn from streams of these names; and with a protocol and a field strength
    of its own, unless hospitals of a kind share those of the preset."""
    preset = PRESETS[kind]

    def own(contrast: str, acquisition: Acquisition) -> Acquisition:
        sequence = acquisition.sequence
        log_sd = SITE_JITTER_MPRAGE if isinstance(sequence, Mprage) else SITE_JITTER
        return replace(acquisition, sequence=sequence.jittered(stream(*names, "protocol", contrast), log_sd))

    youngest = stream(*names, "age").uniform(YOUNGEST, OLDEST - BANDS[1])
    aged = replace(preset, age=(youngest, youngest + stream(*names, "band").uniform(*BANDS)))
    if same_kind:
        return aged
    return replace(
        aged,
        acquisitions={contrast: own(contrast, given) for contrast, given in preset.acquisitions.items()},
        field=float(stream(*names, "field").choice((1.5, 3.0))),
    )


def hospital(
    preset: Hospital,
    *,
    nuisance: float,
    bias: float,
    same_protocol: bool,
    same_quality: bool,
    same_population: bool,
    keep_skull: bool,
    same_fov: bool,
) -> Hospital:
    """A preset with its nuisance and its receive fields scaled, and without the chosen differences between sites: it then does as
    ixi, where ixi can."""
    reference = PRESETS["ixi"]
    if same_protocol:
        acquisitions = {name: replace(own, sequence=COMMON[name]) for name, own in preset.acquisitions.items()}
        preset = replace(preset, acquisitions=acquisitions, field=reference.field, jitter=reference.jitter)
    if same_quality:
        alike = {
            name: Acquisition(own.sequence, thickness=1, fwhm=1, snr=30) for name, own in preset.acquisitions.items()
        }
        preset = replace(
            preset,
            acquisitions=alike,
            bias=reference.bias,
            dome=reference.dome,
            misregistration=reference.misregistration,
        )
    if same_population:
        preset = replace(preset, age=reference.age, tumour=False, wmh=(0, 0))
    if keep_skull:
        preset = replace(preset, stripped=False)
    if same_fov:
        preset = replace(preset, fov=reference.fov)
    return replace(
        preset,
        bias=nuisance * bias * preset.bias,
        dome=nuisance * preset.dome,
        jitter=nuisance * preset.jitter,
        misregistration=nuisance * preset.misregistration,
    )
