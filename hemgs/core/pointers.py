"""Pointer files: the few bytes that Git LFS or git-annex store in place of a large file until it is fetched.

Owns recognising them. Does not own reading any format.
"""

from __future__ import annotations

#: Bytes that :func:`pointer_fault` needs of the beginning of a file.
HEAD_BYTES = 64
_GIT_LFS = b"version https://git-lfs.github.com/spec/"
_GIT_ANNEX = b"/annex/objects/"


def pointer_fault(head: bytes) -> tuple[str, str] | None:
    """Return fault and fix if a file is a pointer, otherwise ``None``.

    Args:
        head: the first :data:`HEAD_BYTES` bytes of the file, or all of it.

    >>> pointer_fault(b"version https://git-lfs.github.com/spec/v1")
    ('is a Git LFS pointer, not the file itself', 'run `git lfs pull` in its repository')
    """
    if head.startswith(_GIT_LFS):
        return "is a Git LFS pointer, not the file itself", "run `git lfs pull` in its repository"
    if _GIT_ANNEX in head[:HEAD_BYTES] and head.startswith((_GIT_ANNEX, b"../", b".git/")):
        return "is a git-annex pointer, not the file itself", "run `git annex get` in its repository"
    return None
