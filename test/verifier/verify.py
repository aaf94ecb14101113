#!/usr/bin/env python3
"""Verifies an export of chains (holdfast verify --export), knowing docs/sync.md and nothing of Holdfast's code.

    verify.py FILE …    prints one JSON object a file, in a line; exit code 0: all are whole, 1: one is not, 2: one cannot be read
"""

import base64
import hashlib
import json
import re
import sys

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.x509.oid import ExtensionOID, NameOID

ZERO = bytes(32)
LOSS = 9
HEX = re.compile(r"[0-9a-f]{64}")
MOST = 2**53 - 1


# What each kind of line must have ("Export").
NAME = {"agent": "text", "epoch": "text", "lane": "number", "segment": "number"}
ROW = {"number": "number", "class": "class", "hash": "hash", "body": "bytes or null"}
MEMBERS = {
    "header": {"side": "text", "agent": "text or null", "hub": "text or null", "epoch": "text", "madeMs": "number"},
    "authority": {"certificate": "bytes"},
    "receipt-certificate": {"hub": "text", "certificate": "bytes"},
    "stream": {
        **NAME,
        **{"firstLink": "hash", "nextLink": "hash or null", "after": "number", "afterHash": "hash"},
        **{"last": "number", "lastHash": "hash", "acknowledged": "number or null"},
    },
    "receipt": {
        **NAME,
        **{"hub": "text", "number": "number", "hash": "hash", "key": "text", "atMs": "number", "signature": "bytes"},
    },
    "row": ROW,
    "beside": ROW,
    "end": {"lines": "number"},
}
BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")


class Unreadable(Exception):
    pass


def check_members(item):
    """Raises ValueError for a line that lacks something."""
    for name, kind in MEMBERS.get(item["kind"], {}).items():
        if not has_type(item.get(name, ...), kind):
            raise ValueError(f"{name} is no {kind}")
    if "publicKey" in item and not has_type(item["publicKey"], "bytes"):
        raise ValueError("publicKey is no bytes")


def has_type(value, kind):
    if value is None:
        return kind.endswith(" or null")
    kind = kind.removesuffix(" or null")
    if kind in ("number", "class"):
        return whole(value, 0) and (kind == "number" or value <= 255)
    if not isinstance(value, str):
        return False
    if kind == "hash":
        return is_hash(value)
    return kind == "text" or BASE64.fullmatch(value) is not None


def row_hash(previous, number, row_class, body):
    return hashlib.sha256(
        previous + number.to_bytes(8, "big") + bytes([row_class]) + hashlib.sha256(body).digest()
    ).digest()


def signature_holds(public_key, signature, text):
    if len(signature) != 64 or not isinstance(public_key, ec.EllipticCurvePublicKey):
        return False
    if not isinstance(public_key.curve, ec.SECP256R1):
        return False
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    try:
        public_key.verify(encode_dss_signature(r, s), text.encode(), ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, ValueError):
        return False
    return True


# ---- loss records ----


def parse_loss(body):
    """The body of a loss record; None when it is malformed."""
    if body is None or len(body) > 8192:
        return None
    try:
        loss = json.loads(body.decode("utf-8"))
    except ValueError:
        return None
    if not isinstance(loss, dict):
        return None
    first, last, counts = loss.get("first"), loss.get("last"), loss.get("counts")
    if not whole(first, 1) or not whole(last, first) or not isinstance(counts, dict):
        return None
    if not all(is_class(name) and whole(count, 1) for name, count in counts.items()):
        return None
    if sum(counts.values()) != last - first + 1:
        return None
    if not is_hash(loss.get("prevHash")) or not is_hash(loss.get("lastHash")):
        return None
    if loss.get("reason") not in ("cap", "damaged") or not whole(loss.get("atMs"), -MOST):
        return None
    if "signature" in loss and not isinstance(loss["signature"], str):
        return None
    return loss


def is_class(name):
    return re.fullmatch(r"[0-9]{1,3}", name) is not None and int(name) <= 255


def whole(value, least):
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= MOST


def is_hash(value):
    return isinstance(value, str) and HEX.fullmatch(value) is not None


def loss_text(stream, loss):
    counts = ",".join(f"{name}:{count}" for name, count in sorted(loss["counts"].items(), key=lambda item: int(item[0])))
    lines = ["holdfast loss v1", stream["agent"], stream["epoch"], stream["lane"], stream["segment"]]
    lines += [loss["first"], loss["last"], loss["prevHash"], loss["lastHash"], counts, loss["reason"], loss["atMs"]]
    return "\n".join(str(line) for line in lines)


def loss_holds(stream, loss, public_key):
    if public_key is None or "signature" not in loss:
        return False
    try:
        key = serialization.load_der_public_key(public_key)
        signature = base64.b64decode(loss["signature"], validate=True)
    except (ValueError, TypeError):
        return False
    return signature_holds(key, signature, loss_text(stream, loss))


# ---- one stream ----


class Walk:
    """Steps 1 to 5 of "What a verifier checks"."""

    def __init__(self, stream):
        self.stream = stream
        self.number = stream["after"]
        self.hash = bytes.fromhex(stream["afterHash"])
        self.next_link = None if stream["nextLink"] is None else bytes.fromhex(stream["nextLink"])
        self.rows = 0
        self.classes = {}
        self.beside = 0
        self.losses = []
        self.receipts = []
        self.at = {}
        self.link_at = None
        self.fault = None
        # After a fault: the number due, the hash before it, what row it was found at, the hash of the row before.
        self.looking = None
        link = bytes.fromhex(stream["firstLink"])
        if (stream["segment"] == 1 and link != ZERO) or (stream["after"] == 0 and self.hash != link):
            self.fault = ("altered", 1)
        self.passed()

    def passed(self):
        self.at[self.number] = self.hash
        if self.hash == self.next_link:
            self.link_at = self.number

    def forget(self, wanted):
        """Only hashes that a receipt names are kept."""
        if self.number not in wanted:
            del self.at[self.number]

    def follow(self, previous, number, row, loss):
        """The hash of a row that follows `previous` as row `number`; None when it cannot."""
        if row["body"] is None:
            return None
        if row["class"] == LOSS:
            if loss is None or bytes.fromhex(loss["prevHash"]) != previous:
                return None
            return bytes.fromhex(loss["lastHash"])
        return row_hash(previous, number, row["class"], row["body"])

    def take(self, row, wanted):
        self.rows += 1
        name = str(row["class"])
        self.classes[name] = self.classes.get(name, 0) + 1
        loss = parse_loss(row["body"]) if row["class"] == LOSS else None
        if self.fault is not None:
            self.look(row, loss)
            return
        due = self.number + 1
        begins = loss["first"] if loss is not None else row["number"]
        if begins > due:
            self.fault = ("missing", due)
            self.looking = (due, self.hash, None, row["hash"])
            return
        if begins < due:
            self.fault = ("reordered", begins)
            return
        last = loss["last"] if loss is not None else due
        found = self.follow(self.hash, due, row, loss)
        if found is None or found != row["hash"] or last != row["number"]:
            self.fault = ("altered", due)
            self.looking = (due, self.hash, row["hash"], row["hash"])
            return
        if loss is not None:
            self.losses.append((loss, row.get("publicKey")))
        self.forget(wanted)
        self.number, self.hash = last, found
        self.passed()

    def look(self, row, loss):
        if self.looking is None:
            return
        due, previous, stored, before = self.looking
        self.looking = (due, previous, stored, row["hash"])
        if loss is not None and loss["first"] != due:
            return
        fitting = self.follow(previous, due, row, loss)
        if fitting is None:
            return
        moved = fitting == row["hash"]
        body_moved = fitting == stored and self.follow(before, row["number"], row, loss) != row["hash"]
        if moved or body_moved:
            self.fault = ("reordered", due)
            self.looking = None

    def unfinished(self):
        return self.next_link is not None and self.link_at is None

    def end(self, side):
        if self.fault is not None:
            return self.fault
        last = self.stream["last"]
        if self.number < last:
            return ("missing", self.number + 1)
        if self.number > last:
            return ("altered", last + 1)
        if self.hash != bytes.fromhex(self.stream["lastHash"]):
            return ("altered", last)
        if self.next_link is None or self.next_link == self.hash:
            return None
        if self.link_at is not None:
            return ("altered", self.link_at + 1)
        return ("missing", self.number + 1) if side == "agent" else None


# ---- the whole file ----


class Verifier:
    def __init__(self):
        self.header = None
        self.authorities = []
        self.keys = {}
        self.problems = []
        self.streams = []
        self.walk = None
        self.before = None
        self.wanted = set()
        self.ended = None
        self.lines = 0

    def line(self, text):
        self.lines += 1
        try:
            item = json.loads(text)
            kind = item["kind"]
            if not isinstance(kind, str):
                raise ValueError("kind is no text")
            check_members(item)
        except (ValueError, KeyError, TypeError) as error:
            raise Unreadable(f"line {self.lines}: {error}") from error
        if self.lines == 1:
            if kind != "header" or item.get("format") != "holdfast-chains" or item.get("version") != 1:
                raise Unreadable("it is no export of chains that this program reads")
            self.header = item
            return
        if kind not in MEMBERS or kind == "header":
            return
        take = getattr(self, "take_" + kind.replace("-", "_"))
        try:
            take(item)
        except (KeyError, TypeError, ValueError) as error:
            raise Unreadable(f"line {self.lines}: {error!r}") from error

    def take_authority(self, item):
        try:
            self.authorities.append(x509.load_der_x509_certificate(decode(item["certificate"])))
        except ValueError as error:
            self.problems.append(f"authority: {error}")

    def take_receipt_certificate(self, item):
        try:
            certificate = x509.load_der_x509_certificate(decode(item["certificate"]))
            self.check_receipt_certificate(certificate)
        except ValueError as error:
            self.problems.append(f"receipt certificate: {error}")
            return
        self.keys[(item["hub"], serial_of(certificate))] = certificate.public_key()

    def check_receipt_certificate(self, certificate):
        if not any(issued_by(certificate, authority) for authority in self.authorities):
            raise ValueError("no authority has issued it")
        names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        if len(list(certificate.subject)) != 1 or not names or names[0].value != "Holdfast receipts":
            raise ValueError("its subject is another one")
        extensions = {extension.oid: extension.value for extension in certificate.extensions}
        if ExtensionOID.EXTENDED_KEY_USAGE in extensions:
            raise ValueError("it has an extended key usage")
        constraints = extensions.get(ExtensionOID.BASIC_CONSTRAINTS)
        if constraints is not None and constraints.ca:
            raise ValueError("it is a CA")
        usage = extensions.get(ExtensionOID.KEY_USAGE)
        if usage is None or not usage.digital_signature:
            raise ValueError("its key is not for signatures")

    def take_stream(self, item):
        self.finish()
        stream = {name: item[name] for name in ("agent", "epoch", "lane", "segment", "firstLink", "nextLink")}
        stream.update({name: item[name] for name in ("after", "afterHash", "last", "lastHash", "acknowledged")})
        self.walk = Walk(stream)
        self.wanted = set()

    def take_receipt(self, item):
        walk = self.walk
        if walk is not None and same_stream(walk.stream, item):
            walk.receipts.append(item)
            self.wanted.add(item["number"])
        elif not self.receipt_signed(item):
            self.problems.append(f"receipt of a stream that is not here, row {item['number']}")

    def take_row(self, item):
        self.open().take(self.row(item), self.wanted)

    def take_beside(self, item):
        self.row(item)
        self.open().beside += 1

    def take_end(self, item):
        self.ended = item["lines"]

    def open(self):
        if self.walk is None:
            raise ValueError("a row before any stream")
        return self.walk

    def row(self, item):
        if not is_hash(item["hash"]):
            raise ValueError("a hash is not 32 bytes in hex")
        body = None if item["body"] is None else decode(item["body"])
        row = {"number": item["number"], "class": item["class"], "hash": bytes.fromhex(item["hash"]), "body": body}
        if "publicKey" in item:
            row["publicKey"] = decode(item["publicKey"])
        return row

    def receipt_signed(self, item):
        key = self.keys.get((item["hub"], item["key"]))
        if key is None:
            return False
        lines = ["holdfast receipt v1", item["hub"], item["agent"], item["epoch"], item["lane"], item["segment"]]
        lines += [item["number"], item["hash"], item["atMs"]]
        return signature_holds(key, decode(item["signature"]), "\n".join(str(line) for line in lines))

    def finish(self):
        walk, self.walk = self.walk, None
        if walk is None:
            return
        stream, side = walk.stream, self.header["side"]
        faults = []
        chain = walk.end(side)
        if self.link_is_wrong(stream):
            chain = ("altered", 1)
        if chain is not None:
            faults.append(chain)
        for loss, public_key in walk.losses:
            at_rest = side == "agent" and "signature" not in loss
            if not at_rest and not loss_holds(stream, loss, public_key):
                faults.append(("signature", loss["first"]))
        proved = None
        for receipt in walk.receipts:
            if not self.receipt_holds(walk, receipt):
                faults.append(("receipt", receipt["number"]))
            else:
                proved = max(proved or 0, receipt["number"])
        self.before = stream
        self.streams.append(
            {
                **{name: stream[name] for name in ("agent", "epoch", "lane", "segment")},
                "last": walk.number,
                "rows": walk.rows,
                "classes": walk.classes,
                "lost": sum(loss["last"] - loss["first"] + 1 for loss, _ in walk.losses),
                "beside": walk.beside,
                "proved": proved,
                "unfinished": walk.unfinished(),
                "faults": [{"kind": kind, "number": number} for kind, number in faults],
            }
        )

    def link_is_wrong(self, stream):
        before = self.before
        if before is None or not same_stream({**before, "segment": before["segment"] + 1}, stream):
            return False
        return before["nextLink"] != stream["firstLink"]

    def receipt_holds(self, walk, receipt):
        number, acknowledged = receipt["number"], walk.stream["acknowledged"]
        if not self.receipt_signed(receipt) or number > walk.stream["last"]:
            return False
        if number in walk.at and walk.at[number].hex() != receipt["hash"]:
            return False
        return acknowledged is None or acknowledged >= number

    def end(self):
        self.finish()
        if self.ended is None:
            self.problems.append("the export was cut short: it has no last line")
        elif self.ended != self.lines - 1:
            self.problems.append("the export has another number of lines than it says")
        whole_ = not self.problems and not any(stream["faults"] for stream in self.streams)
        return {"whole": whole_, "streams": self.streams, "problems": self.problems}


def same_stream(a, b):
    return all(a[name] == b[name] for name in ("agent", "epoch", "lane", "segment"))


def serial_of(certificate):
    digits = f"{certificate.serial_number:x}"
    return digits if len(digits) % 2 == 0 else f"0{digits}"


def issued_by(certificate, authority):
    if certificate.issuer != authority.subject:
        return False
    try:
        authority.public_key().verify(
            certificate.signature, certificate.tbs_certificate_bytes, ec.ECDSA(certificate.signature_hash_algorithm)
        )
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def decode(text):
    return base64.b64decode(text, validate=True)


def verify(path):
    """The report of a file. Raises Unreadable."""
    verifier = Verifier()
    try:
        with open(path, encoding="utf-8", newline="\n") as file:
            for text in file:
                verifier.line(text)
    except (OSError, UnicodeDecodeError) as error:
        raise Unreadable(str(error)) from error
    if verifier.header is None:
        raise Unreadable("it is empty")
    return verifier.end()


def main():
    if len(sys.argv) < 2:
        print("usage: verify.py FILE …", file=sys.stderr)
        return 2
    code = 0
    for path in sys.argv[1:]:
        try:
            report = verify(path)
        except Unreadable as error:
            print(json.dumps({"unreadable": str(error)}))
            print(f"cannot read {path}: {error}", file=sys.stderr)
            code = 2
            continue
        print(json.dumps(report))
        if not report["whole"]:
            code = max(code, 1)
    return code


if __name__ == "__main__":
    sys.exit(main())
