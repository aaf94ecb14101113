"""The other side of a session over MQTT, written with Debian's python3-cbor2 and python3-cryptography and nothing of ours.

Reads one JSON object on stdin, prints one on stdout. Bytes are hex.
"""
import json
import struct
import sys

import cbor2
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


def load_key(pem):
    return serialization.load_pem_private_key(pem.encode(), None)


def sign1(protected, payload, key, aad, tagged=True):
    body = cbor2.dumps(protected)
    text = cbor2.dumps(["Signature1", body, aad, payload])
    r, s = decode_dss_signature(key.sign(text, ec.ECDSA(hashes.SHA256())))
    return cbor2.dumps(cbor2.CBORTag(18, [body, {}, payload, r.to_bytes(32, "big") + s.to_bytes(32, "big")]))


def verify1(message, public, aad):
    tag = cbor2.loads(message)
    assert tag.tag == 18
    body, unprotected, payload, signature = tag.value
    protected = cbor2.loads(body)
    assert protected[1] == -7, "ES256"
    key = public or x509.load_der_x509_certificate(protected[33]).public_key()
    text = cbor2.dumps(["Signature1", body, aad, payload])
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    key.verify(encode_dss_signature(r, s), text, ec.ECDSA(hashes.SHA256()))
    return payload, protected


class Session:
    def __init__(self, given):
        self.agent_id = given["agentId"]
        self.agent = x509.load_pem_x509_certificate(given["agentCertificate"].encode())
        self.hub = x509.load_pem_x509_certificate(given["hubCertificate"].encode())
        self.own = load_key(given["key"])
        self.role = given["role"]
        peer = self.hub if self.role == "agent" else self.agent
        self.peer = peer.public_key()
        secret = self.own.exchange(ec.ECDH(), self.peer)
        prints = [c.fingerprint(hashes.SHA256()) for c in (self.agent, self.hub)]
        info = b"holdfast mqtt v1\0" + self.agent_id.encode() + b"\0" + b"".join(prints)
        salt = bytes.fromhex(given["agentNonce"]) + bytes.fromhex(given["hubNonce"])
        material = HKDF(hashes.SHA256(), 16 + 2 * 44, salt, info).derive(secret)
        self.id = material[:16]
        self.keys = {"up": (material[16:48], material[48:60]), "down": (material[60:92], material[92:104])}

    def iv(self, direction, partial):
        padded = partial.rjust(12, b"\0")
        return bytes(a ^ b for a, b in zip(self.keys[direction][1], padded))

    def topic(self, direction):
        return f"holdfast/v1/{self.agent_id}/{direction}".encode()

    def seal(self, direction, number, payload):
        partial = struct.pack(">Q", number)
        body = cbor2.dumps({1: 3, 4: self.id, 6: partial})
        inner = sign1({1: -7}, payload, self.own, body)
        aad = cbor2.dumps(["Encrypt0", body, self.topic(direction)])
        sealed = AESGCM(self.keys[direction][0]).encrypt(self.iv(direction, partial), inner, aad)
        return cbor2.dumps(cbor2.CBORTag(16, [body, {}, sealed]))

    def open(self, direction, message):
        tag = cbor2.loads(message)
        assert tag.tag == 16
        body, unprotected, sealed = tag.value
        protected = cbor2.loads(body)
        assert protected[1] == 3 and protected[4] == self.id
        aad = cbor2.dumps(["Encrypt0", body, self.topic(direction)])
        inner = AESGCM(self.keys[direction][0]).decrypt(self.iv(direction, protected[6]), sealed, aad)
        payload, _ = verify1(inner, self.peer, body)
        return int.from_bytes(protected[6], "big"), payload


def plain(value):
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, list) else value


def main():
    given = json.load(sys.stdin)
    answer = {}
    if "opening" in given:
        payload, protected = verify1(bytes.fromhex(given["opening"]), None, given["context"].encode())
        shown = x509.load_der_x509_certificate(protected[33]).subject.rfc4514_string()
        answer["opening"] = {"payload": plain(cbor2.loads(payload)), "subject": shown}
    if "open" in given:
        key, certificate = load_key(given["open"]["key"]), given["open"]["certificate"]
        der = x509.load_pem_x509_certificate(certificate.encode()).public_bytes(serialization.Encoding.DER)
        payload = cbor2.dumps({1: given["open"]["agentId"], 2: bytes.fromhex(given["open"]["nonce"])})
        answer["open"] = sign1({1: -7, 33: der}, payload, key, b"holdfast mqtt v1 open").hex()
    if "session" in given:
        session = Session(given["session"])
        answer["id"] = session.id.hex()
        down = "up" if session.role == "hub" else "down"
        answer["received"] = []
        for message in given.get("messages", []):
            number, payload = session.open(down, bytes.fromhex(message))
            answer["received"].append({"number": number, "payload": plain(cbor2.loads(payload))})
        up = "down" if session.role == "hub" else "up"
        payloads = [bytes.fromhex(each) for each in given.get("payloads", [])]
        answer["sent"] = [session.seal(up, n + 1, each).hex() for n, each in enumerate(payloads)]
    json.dump(answer, sys.stdout)


main()
