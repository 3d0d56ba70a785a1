"""``python -m auditlake``: the same as the command ``auditlake``."""

from auditlake.cli import main

if __name__ == "__main__":
    main()
