"""The first words of TLS, written and read as bytes, to learn which cipher suites a server accepts (RFC 5246, 8446).

OpenSSL of today cannot offer what is broken (EXPORT, RC4, 3DES), and so cannot tell who still takes it. Here a
ClientHello offers any suite, and the ServerHello says which one was chosen; no handshake is ever completed.

    hello = make_hello("mx.example", TLS_1_2, codes, random)
    answer = HelloAnswer()
    answer.receive(data)                    # until answer.outcome is Chosen or Refused

Not done here: keys, certificates, anything secret (`net.tlsdial` does handshakes). SSL 2 and 3.
"""
