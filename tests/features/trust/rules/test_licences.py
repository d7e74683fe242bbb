def test_without_the_list_of_spdx_the_own_table_is_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("outlast.features.trust.rules.licences.find_spec", lambda _: None)
    read_licence.cache_clear()
    try:
        assert read_licence("apache-2.0").spdx == "Apache-2.0"
        assert read_licence("EUPL-1.2-of-none").spdx == "unknown"
        assert read_licence("MIT OR Zlib").spdx == "unknown"
    finally:
        read_licence.cache_clear()
