"""File formats, read with suspicion: bytes in, plain arrays out."""
