"""Pseudonyms of subjects, and the one file of a prepared data set that leads back to their names.

A pseudonym is an HMAC-SHA256 of site and name under a salt of 128 random bits, which belongs to the prepared data set. A plain
hash would not do: a century has 36,525 dates of birth, two initials 676 pairs, and whoever hashes them all finds every name.
Without the salt nobody can.

`names.json` has the salt, the names, and all else about where the data came from that may tell who somebody is. It can be read
by its owner alone. Runs do not need it: whoever gets a prepared folder without it can train on it, and learns no name.
"""

from __future__ import annotations

import hmac
import json
import os
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fedsynth.federation import FederationError

FILE = "names.json"
NOTE = "The names of the subjects. Who has this file knows who they are: docs/privacy.md says whom to give it."


@dataclass(frozen=True)
class Names:
    """The content of `names.json`. Without the file: nothing, and then every subject is called by its pseudonym."""

    salt: str = ""  # 32 hexadecimal digits
    subjects: dict[str, dict[str, str]] = field(default_factory=dict)  # site -> pseudonym -> name
    root: str = ""  # the folder of the volumes
    files: list[dict[str, Any]] = field(default_factory=list)  # of each volume: who, which contrast, and its file
    left_out: list[dict[str, str]] = field(default_factory=list)  # subjects that could not be used, and why
    # Subjects that were used although their registration is called poor.
    accepted: list[str] = field(default_factory=list)
    splits: dict[str, dict[str, str]] = field(default_factory=dict)  # that were given: site -> name -> split

    @classmethod
    def read(cls, folder: Path) -> Names:
        """Those of a prepared folder. Raises FederationError for a file that is damaged."""
        path = folder / FILE
        try:
            found = json.loads(path.read_bytes())
            names = cls(**{name: value for name, value in found.items() if name != "note"})
            bytes.fromhex(names.salt)
            return names
        except (FileNotFoundError, NotADirectoryError):
            return cls()
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise FederationError(
                f"{path} cannot be read ({error}); restore it, or delete it: names are lost then"
            ) from error

    def write(self, folder: Path) -> None:
        """Write the file, for its owner alone."""
        content = json.dumps({"note": NOTE} | asdict(self), indent=1, ensure_ascii=False)
        descriptor = os.open(folder / FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(content)

    def name(self, site: str, pseudonym: str) -> str:
        """Who it is; the pseudonym itself where that is not known."""
        return self.subjects.get(site, {}).get(pseudonym, pseudonym)


def salt_of(folder: Path) -> str:
    """The salt of a prepared folder, so that its subjects keep their pseudonyms when it is prepared again; else a new one."""
    return Names.read(folder).salt or secrets.token_hex(16)


def pseudonym(salt: str, site: str, name: str) -> str:
    """What a subject is called: the same for the same salt, site and name."""
    digest = hmac.new(bytes.fromhex(salt), json.dumps([site, name]).encode(), "sha256")
    return f"p{digest.hexdigest()[:12]}"


def pseudonyms(salt: str, site: str, names: Iterable[str]) -> dict[str, str]:
    """Name -> pseudonym of all subjects of a site; without a salt, the name itself."""
    return {name: pseudonym(salt, site, name) if salt else name for name in names}


def salt_mark(salt: str) -> str:
    """A word that is the same for the same salt, and from which nobody learns the salt: records say by it whose pseudonyms they
    have."""
    return f"salted-{hmac.new(bytes.fromhex(salt), b'mark', 'sha256').hexdigest()[:8]}"


def real_names(splits: Mapping[str, Mapping[str, str]], names: Names) -> dict[str, dict[str, str]]:
    """The splits with names in place of the pseudonyms."""
    return {site: {names.name(site, who): split for who, split in own.items()} for site, own in splits.items()}
