"""An MX host that takes commands slipped in before TLS: aiosmtpd 1.4.5 (CVE-2024-34083); runs in .venv-zoo.

injectable.py ADDRESS HOST PEM
"""

import asyncio
import ssl
import sys

from aiosmtpd.handlers import Sink
from aiosmtpd.smtp import SMTP


async def serve(address: str, host: str, pem: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(Sink(), hostname=host, tls_context=context), address, 25)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:]))
