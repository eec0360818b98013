"""Keys: only hashes are kept, origins decide who may use one, and a broken file says what is wrong with it."""

import json

import pytest

from tracker.collect.access.keys import (
    MAX_KEY_CHARS,
    MAX_ORIGINS,
    MIN_KEY_CHARS,
    KeyRing,
    KeysFile,
    WriteKey,
    digest,
    everybody_may_read,
    read_keys,
)
from tracker.errors import ConfigurationError

SECRET = "a-key-of-some-length"


def write_key(**changes) -> WriteKey:
    return WriteKey.model_validate({"name": "shop", "key": SECRET, "workspace_id": "w1", **changes})


def test_a_key_in_clear_is_replaced_by_its_hash_at_once():
    key = write_key()
    assert key.key_sha256 == digest(SECRET).hex()
    assert SECRET not in repr(key)


@pytest.mark.parametrize(("mode", "found"), [(0o600, False), (0o640, False), (0o644, True), (0o602, True)])
def test_a_keys_file_that_everybody_may_read_is_noticed(tmp_path, mode, found):
    path = tmp_path / "keys.json"
    path.touch()
    path.chmod(mode)
    assert everybody_may_read(path) is found
    assert everybody_may_read(tmp_path / "missing.json") is False


def test_a_presented_key_finds_its_own_kind_only():
    read = {"name": "bi", "key": "another-key-of-length", "workspace_id": "w1"}
    ring = KeyRing(KeysFile.model_validate({"write_keys": [write_key().model_dump()], "read_keys": [read]}))
    assert ring.write_key(SECRET).workspace_id == "w1"
    assert ring.read_key(SECRET) is None
    assert ring.read_key("another-key-of-length").name == "bi"
    for wrong in ("", SECRET + "x", SECRET[:-1], digest(SECRET).hex(), "\udcff"):
        assert ring.write_key(wrong) is None


@pytest.mark.parametrize(
    ("origins", "origin", "verdict"),
    [
        (["https://shop.example"], "https://shop.example", "credentials"),
        (["https://shop.example"], "https://SHOP.example", "credentials"),
        (["https://shop.example"], "http://shop.example", "refused"),
        (["https://shop.example"], "https://shop.example:8443", "refused"),
        (["https://shop.example"], "https://shop.example.evil.test", "refused"),
        (["https://*.shop.example"], "https://a.b.shop.example", "credentials"),
        (["https://*.shop.example"], "https://shop.example", "refused"),
        (["https://*.shop.example"], "https://evil-shop.example", "refused"),
        (["https://*.shop.example"], "https://evil.test/.shop.example", "refused"),
        (["*"], "https://anywhere.example", "plain"),
        (["*"], "null", "plain"),
        ([], "https://shop.example", "refused"),
    ],
)
def test_origins_decide_which_pages_may_use_a_key(origins, origin, verdict):
    assert write_key(origins=origins).origin_verdict(origin) == verdict


BAD_FILES = [
    ("not TOML", "k.toml", "write_keys = ["),
    ("not JSON", "k.json", "{"),
    ("not UTF-8", "k.toml", b"\xff"),
    ("unknown field", "k.toml", '[[write_keys]]\nname="a"\nkey="0123456789abcdef"\nworkspace_id="w"\ncolour="red"'),
    ("no workspace", "k.toml", '[[write_keys]]\nname="a"\nkey="0123456789abcdef"'),
    ("short key", "k.toml", '[[write_keys]]\nname="a"\nkey="hunter2"\nworkspace_id="w"'),
    (
        "key and hash",
        "k.toml",
        f'[[read_keys]]\nname="a"\nkey="hunter2-hunter2-hunter2"\nkey_sha256="{"a" * 64}"\nworkspace_id="w"',
    ),
    (
        "twice",
        "k.json",
        json.dumps({"read_keys": [{"name": n, "key_sha256": "a" * 64, "workspace_id": "w"} for n in "ab"]}),
    ),
    (
        "bad origin",
        "k.toml",
        '[[write_keys]]\nname="a"\nkey="0123456789abcdef"\nworkspace_id="w"\norigins=["shop.example/"]',
    ),
]


@pytest.mark.parametrize(("name", "file", "text"), BAD_FILES, ids=[bad[0] for bad in BAD_FILES])
def test_a_bad_file_is_one_line_without_its_values(name, file, text, tmp_path):
    path = tmp_path / file
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigurationError) as caught:
        read_keys(path)
    assert str(caught.value).startswith("the keys file (TRACKER_KEYS_FILE)")
    assert str(path) in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert "0123456789abcdef" not in str(caught.value)


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(ConfigurationError, match="No such file"):
        read_keys(tmp_path / "missing.toml")


def test_toml_and_json_hold_the_same(tmp_path):
    fields = {"write_keys": [{"name": "a", "key_sha256": digest(SECRET).hex(), "workspace_id": "w1"}]}
    (tmp_path / "k.json").write_text(json.dumps(fields))
    (tmp_path / "k.toml").write_text(f'[[write_keys]]\nname="a"\nkey="{SECRET}"\nworkspace_id="w1"\n')
    for name in ("k.json", "k.toml"):
        assert read_keys(tmp_path / name).write_key(SECRET).workspace_id == "w1"


@pytest.mark.parametrize(
    ("fields", "is_public"),
    [
        ({}, False),
        ({"origins": ["https://shop.example"]}, True),
        ({"scope": "public"}, True),
        ({"scope": "secret", "origins": ["https://shop.example"]}, False),
    ],
    ids=["a service's", "a page's", "said to be public", "said to be secret"],
)
def test_a_key_with_origins_is_public_unless_it_says_otherwise(fields, is_public, tmp_path):
    key = {"name": "a", "key_sha256": digest(SECRET).hex(), "workspace_id": "w1", **fields}
    (tmp_path / "k.json").write_text(json.dumps({"write_keys": [key]}))
    assert read_keys(tmp_path / "k.json").write_key(SECRET).is_public == is_public


def test_before_a_page_names_its_key_it_may_do_what_any_of_them_lets_it():
    keys = [
        {"name": name, "key": f"{name}-key-0123456789", "workspace_id": "w1", "origins": origins}
        for name, origins in (("anybody", ["*"]), ("service", []), ("shop", ["https://shop.example"]))
    ]
    everybody, services = (KeyRing(KeysFile.model_validate({"write_keys": some})) for some in (keys, keys[1:]))
    assert (
        everybody.any_verdict("https://shop.example") == services.any_verdict("https://shop.example") == "credentials"
    )
    assert everybody.any_verdict("https://evil.test") == "plain"
    assert services.any_verdict("https://evil.test") == "refused"


def test_a_ring_has_as_many_keys_as_its_file_of_both_kinds():
    read = [{"name": f"bi{number}", "key": f"read-key-of-length-{number}", "workspace_id": "w1"} for number in range(2)]
    assert len(KeyRing(KeysFile.model_validate({"write_keys": [write_key().model_dump()], "read_keys": read}))) == 3
    assert len(KeyRing(KeysFile())) == 0


@pytest.mark.parametrize(
    ("length", "is_taken"),
    [(MIN_KEY_CHARS - 1, False), (MIN_KEY_CHARS, True), (MAX_KEY_CHARS, True), (MAX_KEY_CHARS + 1, False)],
)
def test_a_key_is_as_long_as_it_must_be_and_no_longer_than_it_may_be(length, is_taken):
    if is_taken:
        assert write_key(key="k" * length).key_sha256 == digest("k" * length).hex()
    else:
        with pytest.raises(ValueError, match=f"{MIN_KEY_CHARS} to {MAX_KEY_CHARS} characters"):
            write_key(key="k" * length)


@pytest.mark.parametrize(
    ("fields", "mistake"),
    [
        ({"key": 12}, "must be a text"),
        ({"key": None}, "either key_sha256 or key"),
        ({"key": None, "key_sha256": "A" * 64}, "key_sha256"),
        ({"key_sha256": "a" * 64}, "either key_sha256 or key"),
        ({"name": "a shop"}, "name"),
        ({"workspace_id": ""}, "workspace_id"),
        ({"scope": "all"}, "scope"),
        ({"events_per_second": 0}, "events_per_second"),
        ({"origins": ["https://shop.example/path"]}, "origins"),
        ({"origins": ["https://*"]}, "origins"),
        ({"origins": ["https://a*.shop.example"]}, "origins"),
        ({"origins": ["https://shop.example:443443"]}, "origins"),
        ({"origins": ["https://shop.example\n"]}, "origins"),
        ({"origins": ["*"] * (MAX_ORIGINS + 1)}, "origins"),
    ],
)
def test_a_key_that_says_something_else_than_it_can_mean_is_refused(fields, mistake):
    with pytest.raises(ValueError, match=mistake):
        write_key(**fields)


@pytest.mark.parametrize(
    "kinds", [("write_keys", "write_keys"), ("read_keys", "read_keys"), ("write_keys", "read_keys")]
)
@pytest.mark.parametrize("what", ["key", "name"])
def test_no_two_keys_are_the_same_or_have_one_name(kinds, what):
    file: dict[str, list[dict[str, str]]] = {"write_keys": [], "read_keys": []}
    for number, kind in enumerate(kinds):
        fields = {"name": f"name{number}", "key": f"key-of-some-length-{number}", "workspace_id": "w1"}
        file[kind].append(fields | {"name": {"name": "the-same"}, "key": {"key": SECRET}}[what])
    with pytest.raises(ValueError, match=f"two keys have the same {what}"):
        KeysFile.model_validate(file)
