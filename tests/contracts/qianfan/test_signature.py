"""bce-auth-v1 to the letter: the contract's worked vector, and everything about a request that breaks it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelhub.api.qianfan import signature
from labelhub.api.qianfan.signature import Expired, Malformed, Mismatch, Signed

KEY, SECRET = "ak-test-0001", "sk-test-0001-secret"
AT = datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
FOUR = "38d0a4307d0acd8120e0c85a02989b3afefe6a786c2141c93e72e8b77e09cf0e"
TWO = "9e6468ad4b3d7b6dcb7e998640bab9eb520f4b53960543ce60e5b1483414cf91"
VERSION_TWO = "86d3506327eb04967b341a9574175259c2ce5a051445583d923f61fb6d9764e5"
PREFIX = f"bce-auth-v1/{KEY}/2023-11-14T22:13:20Z/300"
NAMES = "content-type;host;request-source;x-bce-date"
REQUEST = Signed(
    method="POST",
    path="/wenxinworkshop/entity/list",
    query="",
    headers={
        "content-type": "application/json",
        "content-length": "30",
        "host": "127.0.0.1:8000",
        "request-source": "qianfan_py_sdk_v0.4.12.3",
        "x-bce-date": "2023-11-14T22:13:20Z",
        "accept": "*/*",
    },
)


def check(header, request=REQUEST, *, secret=SECRET, now=AT):
    signature.check(signature.parse(header), secret=secret, request=request, now=now)


def test_the_canonical_request_is_the_documented_one():
    assert signature.canonical_request(REQUEST, NAMES.split(";")) == (
        "POST\n"
        "/wenxinworkshop/entity/list\n"
        "\n"
        "content-type:application%2Fjson\n"
        "host:127.0.0.1%3A8000\n"
        "request-source:qianfan_py_sdk_v0.4.12.3\n"
        "x-bce-date:2023-11-14T22%3A13%3A20Z"
    )


def test_the_signing_key_is_the_documented_one():
    assert signature._digest(SECRET, PREFIX) == "9209b02f9424d9c23844464cf6bea2431a54cca54c78dc482e1585d1d32a01e4"


def test_the_three_worked_signatures_hold():
    check(f"{PREFIX}/{NAMES}/{FOUR}")
    check(f"{PREFIX}/host;x-bce-date/{TWO}")
    headers = REQUEST.headers | {"host": "qianfan.baidubce.com"}
    second = Signed("POST", "/v2/dataset", "Action=DescribeDatasetVersion", headers)
    check(f"{PREFIX}/{NAMES}/{VERSION_TWO}", second)


@given(st.permutations(NAMES.split(";")))
def test_the_order_in_which_signed_headers_are_named_means_nothing(names):
    check(f"{PREFIX}/{';'.join(names)}/{FOUR}")


def test_headers_may_be_named_in_capitals_and_stand_in_spaces():
    headers = REQUEST.headers | {"x-bce-date": "  2023-11-14T22:13:20Z "}
    check(f"{PREFIX}/Host;X-Bce-Date/{TWO}", replace(REQUEST, headers=headers))


def test_a_named_header_without_a_value_counts_as_not_there():
    check(f"{PREFIX}/host;x-bce-date;referer/{TWO}")


def test_where_no_header_is_named_the_usual_ones_are_signed():
    headers = {name: value for name, value in REQUEST.headers.items() if name in ("host", "x-bce-date")}
    check(f"{PREFIX}//{TWO}", replace(REQUEST, headers=headers | {"accept": "*/*"}))


def test_the_go_and_java_clients_sign_the_host_without_its_port():
    sent = replace(REQUEST, headers=REQUEST.headers | {"host": "qianfan.baidubce.com:443"})
    second = replace(sent, path="/v2/dataset", query="Action=DescribeDatasetVersion")
    check(f"{PREFIX}/{NAMES}/{VERSION_TWO}", second)
    with pytest.raises(Mismatch):
        check(f"{PREFIX}/{NAMES}/{FOUR}", replace(REQUEST, headers=REQUEST.headers | {"host": "127.0.0.1"}))


@pytest.mark.parametrize(
    "changed",
    [
        {"method": "PUT"},
        {"path": "/wenxinworkshop/entity/delete"},
        {"query": "a=1"},
        {"headers": REQUEST.headers | {"host": "127.0.0.1:8001"}},
        {"headers": REQUEST.headers | {"host": "evil.example.org"}},
        {"headers": REQUEST.headers | {"x-bce-date": "2023-11-14T22:13:21Z"}},
        {"headers": REQUEST.headers | {"request-source": "x"}},
        {"headers": {}},
    ],
)
def test_a_signature_is_good_for_one_request_only(changed):
    with pytest.raises(Mismatch):
        check(f"{PREFIX}/{NAMES}/{FOUR}", replace(REQUEST, **changed))


def test_headers_that_are_not_signed_may_change():
    check(f"{PREFIX}/{NAMES}/{FOUR}", replace(REQUEST, headers=REQUEST.headers | {"accept": "x", "x-other": "y"}))


@pytest.mark.parametrize("secret", ["", "sk-test-0001-secreT", SECRET + " ", KEY])
def test_another_secret_does_not_make_it(secret):
    with pytest.raises(Mismatch):
        check(f"{PREFIX}/{NAMES}/{FOUR}", secret=secret)


@given(st.integers(0, 63), st.sampled_from("0123456789abcdef"))
def test_a_signature_with_another_digit_is_none(place, digit):
    other = FOUR[:place] + digit + FOUR[place + 1 :]
    if other != FOUR:
        with pytest.raises(Mismatch):
            check(f"{PREFIX}/{NAMES}/{other}")


@pytest.mark.parametrize(
    "prefix",
    [
        f"bce-auth-v1/{KEY}/2023-11-14T22:13:21Z/300",
        f"bce-auth-v1/{KEY}/2023-11-14T22:13:20Z/3000",
        "bce-auth-v1/another/2023-11-14T22:13:20Z/300",
    ],
)
def test_time_expiry_and_key_are_signed_too(prefix):
    with pytest.raises(Mismatch):
        check(f"{prefix}/{NAMES}/{FOUR}")


def test_it_holds_until_it_expires_and_twice_within_that_time():
    header = f"{PREFIX}/{NAMES}/{FOUR}"
    for now in (AT, AT, AT + timedelta(seconds=300), AT - timedelta(minutes=15)):
        check(header, now=now)
    for now in (AT + timedelta(seconds=301), AT - timedelta(minutes=15, seconds=1)):
        with pytest.raises(Expired):
            check(header, now=now)


def test_a_forged_header_is_called_forged_whatever_its_time():
    with pytest.raises(Mismatch):
        check(f"{PREFIX}/{NAMES}/{'0' * 64}", now=AT + timedelta(days=1))


@pytest.mark.parametrize(
    "header",
    [
        "",
        "bce-auth-v1",
        f"{PREFIX}/{NAMES}",
        f"{PREFIX}/{NAMES}/{FOUR}/more",
        f"bce-auth-v2/{KEY}/2023-11-14T22:13:20Z/300/host/{FOUR}",
        f"bce-auth-v1//2023-11-14T22:13:20Z/300/host/{FOUR}",
        f"bce-auth-v1/{'k' * 129}/2023-11-14T22:13:20Z/300/host/{FOUR}",
        f"bce-auth-v1/é/2023-11-14T22:13:20Z/300/host/{FOUR}",
        f"bce-auth-v1/{KEY}/2023-11-14 22:13:20/300/host/{FOUR}",
        f"bce-auth-v1/{KEY}/2023-02-30T22:13:20Z/300/host/{FOUR}",
        f"bce-auth-v1/{KEY}/9999-12-31T22:13:20Z/180000/host/{FOUR}",
        f"bce-auth-v1/{KEY}/٢٠٢٣-11-14T22:13:20Z/300/host/{FOUR}",
        f"bce-auth-v1/{KEY}/2023-11-14T22:13:20Z/0/host/{FOUR}",
        f"bce-auth-v1/{KEY}/2023-11-14T22:13:20Z/-1/host/{FOUR}",
        f"bce-auth-v1/{KEY}/2023-11-14T22:13:20Z/300.5/host/{FOUR}",
        f"bce-auth-v1/{KEY}/2023-11-14T22:13:20Z/9999999999/host/{FOUR}",
        f"bce-auth-v1/{KEY}/2023-11-14T22:13:20Z/300/x-bce-date/{FOUR}",
        f"bce-auth-v1/{KEY}/2023-11-14T22:13:20Z/300/host/{FOUR.upper()}",
        f"bce-auth-v1/{KEY}/2023-11-14T22:13:20Z/300/host/{FOUR[:-1]}",
        f"bce-auth-v1/{KEY}/2023-11-14T22:13:20Z/300/host/",
    ],
)
def test_what_is_not_of_this_scheme_is_malformed(header):
    with pytest.raises(Malformed):
        signature.parse(header)


@given(st.text(st.characters(max_codepoint=255), max_size=200))
def test_no_header_makes_it_stumble(header):
    with pytest.raises((Malformed, Mismatch, Expired)):
        check(header)


@given(st.text(st.characters(max_codepoint=255), max_size=200))
def test_no_query_or_header_value_makes_it_stumble(text):
    changed = replace(REQUEST, query=text, headers=REQUEST.headers | {"x-bce-date": text})
    with pytest.raises(Mismatch):
        check(f"{PREFIX}/{NAMES}/{'0' * 64}", changed)


def test_a_query_is_sorted_and_written_in_one_way():
    assert signature.canonical_query("") == ""
    assert signature.canonical_query("b=2&a=1") == "a=1&b=2"
    assert signature.canonical_query("b&a=") == "a=&b="
    assert signature.canonical_query("q=a%20b%2fc~&z=%E4%BD%A0") == "q=a%20b%2Fc~&z=%E4%BD%A0"
    assert signature.canonical_query("a=1&authorization=bce-auth-v1%2Fx&Authorization=y") == "a=1"
