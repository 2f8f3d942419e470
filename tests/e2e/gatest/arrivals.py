"""Comparing what arrived with what was sent, octet for octet.

A message that arrives may carry new header fields above what was sent, and nothing else may differ: one Received
field of ours, and what the receiving server itself puts on top.

Some receivers repair what is no RFC 5322 header (Postfix and Exim end a header before the first line that is no field, OpenSMTPD gives
a Date and a Message-ID). For such a message the measure is what the same receiver stores when the test hands it the same octets without us.
"""

import re

OUR_HOST = "mail.test.example"
RECEIVER_FIELDS = {b"received", b"return-path", b"delivered-to", b"x-original-to", b"envelope-to", b"delivery-date"}


def added_fields(arrived, sent):
    """Split off what stands above the message that was sent; a list of whole (unfolded) header fields."""
    if not arrived.endswith(sent):
        raise AssertionError(first_difference(arrived, sent))
    top = arrived[: len(arrived) - len(sent)]
    fields = re.split(rb"\r\n(?![ \t])", top)
    assert fields.pop() == b"", f"what was added does not end with its line: {top[-80:]!r}"
    return fields


def first_difference(arrived, sent):
    """Where the two part, counted from the end, where an added header field shifts nothing."""
    same = 0
    while same < min(len(arrived), len(sent)) and arrived[-1 - same] == sent[-1 - same]:
        same += 1
    return (f"not what was sent: {len(arrived)} octets arrived, {len(sent)} were sent, the last {same} are equal; before them\n"
            f"arrived: {arrived[max(0, len(arrived) - same - 60):len(arrived) - same + 20]!r}\n"
            f"sent:    {sent[max(0, len(sent) - same - 60):len(sent) - same + 20]!r}")


def assert_same(arrived, sent, receiver_adds=()):
    """ARRIVED is SENT under exactly one Received field of ours and, of the receiver's, fields named RECEIVER_ADDS."""
    fields = added_fields(arrived, sent)
    names = [field.split(b":")[0].strip().lower() for field in fields]
    ours = [field for field in fields if is_our_received(field)]
    assert len(ours) == 1, f"{len(ours)} Received fields of ours among {fields!r}"
    allowed = {name.lower().encode() if isinstance(name, str) else name for name in receiver_adds}
    others = [name for field, name in zip(fields, names) if field is not ours[0]]
    assert set(others) <= allowed, f"fields that nobody should have added: {set(others) - allowed}"


def below_ours(arrived):
    """Everything below our Received field."""
    for field in re.finditer(rb"(?ims)^received:.*?\r\n(?![ \t])", arrived):
        if is_our_received(field[0]):
            return arrived[field.end():]
    raise AssertionError(f"no Received field of ours in {arrived[:400]!r}")


def assert_same_as_without_us(arrived, reference, sent):
    """Below our Received field both are equal, but for a Date and a Message-ID that the receiver made up because SENT has none."""
    def without_made_up(octets):
        return re.sub(rb"(?im)^(?:date|message-id):.*\r\n", lambda field: field[0] if field[0] in sent else b"", below_ours(octets))
    one, two = without_made_up(arrived), without_made_up(reference)
    assert one == two, first_difference(one, two)


def is_our_received(field):
    return field.lower().startswith(b"received:") and re.search(rb"\sby " + re.escape(OUR_HOST.encode()), field) is not None
