def crc32c(data: bytes | bytearray | memoryview, before: int = 0) -> int:
    """CRC32C of `data`, continued from `before`; other threads run meanwhile where it is long."""

def crc32c_by_table(data: bytes | bytearray | memoryview, before: int = 0) -> int:
    """The same without the processor's instruction: what machines without it use."""
