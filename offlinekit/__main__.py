"""Makes `python -m offlinekit` the command line."""

from offlinekit.cli.main import main

if __name__ == "__main__":
    main(prog_name="offlinekit")
