"""So many clients as the second argument says, that ask the socket of the first for the third over and over."""

import asyncio
import contextlib
import sys


async def ask(path: str, page: str) -> None:
    while True:
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(f"GET {page} HTTP/1.1\r\n\r\n".encode())
            await reader.read()
            writer.close()
            await writer.wait_closed()


async def main(path: str, count: str, page: str) -> None:
    await asyncio.gather(*(ask(path, page) for _ in range(int(count))))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
