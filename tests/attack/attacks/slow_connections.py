"""Two hundred clients that connect to the status page, send a letter a second, and come back when they are put out."""

import asyncio
from contextlib import suppress

from attacks.finding import Finding, tell
from attacks.ground import Probes, served

CLIENTS = 200
SECONDS = 20.0
REQUEST = b"GET /metrics HTTP/1.1\r\nX: " + 8000 * b"x"
LETTER_S = 1.0
BACK_S = 0.05


async def attack() -> Finding:
    async with served() as ground:
        clients = [asyncio.create_task(be_slow(ground.daemon.port)) for _ in range(CLIENTS)]
        await asyncio.sleep(LETTER_S)
        by_address, by_socket = Probes(ground.daemon), Probes(ground.daemon, by_socket=True)
        await asyncio.gather(by_address.during(SECONDS), by_socket.during(SECONDS))
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
        held = not by_address.slow and not by_socket.slow and ground.daemon.status() is None
    return Finding(
        f"{CLIENTS} slow connections on the status address while probes run",
        f"{SECONDS:g} s",
        held,
        f"address: {by_address}; socket: {by_socket}",
    )


async def be_slow(port: int) -> None:
    while True:
        with suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            await send_slowly(writer)
        await asyncio.sleep(BACK_S)


async def send_slowly(writer: asyncio.StreamWriter) -> None:
    try:
        for letter in REQUEST:
            writer.write(bytes((letter,)))
            await writer.drain()
            await asyncio.sleep(LETTER_S)
    finally:
        writer.transport.abort()


if __name__ == "__main__":
    tell(attack)
