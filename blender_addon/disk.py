"""What the system says of files and disks, as one sentence with its remedy. No Blender."""

from __future__ import annotations

import errno

_FULL = {errno.ENOSPC, errno.EDQUOT}
_NO_RIGHTS = {errno.EACCES, errno.EPERM, errno.EROFS}


def disk_sentence(error: OSError) -> str:
    """One sentence for the artist, what is wrong and what to do."""
    where = f"'{error.filename}'" if error.filename else "a file"
    if error.errno in _FULL:
        return f"The disk is full ({where} cannot be written); free some space, then try again"
    if error.errno in _NO_RIGHTS:
        return f"{where} may not be used ({error.strerror}); give yourself the right to, then try again"
    return f"{where} cannot be used ({error.strerror or error}); see that it is there, then try again"


def of_the_disk(error: OSError) -> bool:
    """Whether the disk is full or a right is missing: nothing that a new installation would mend."""
    return error.errno in _FULL | _NO_RIGHTS
