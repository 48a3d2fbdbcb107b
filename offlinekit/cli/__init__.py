"""The command line `offlinekit`: parses, calls the library, prints."""
