from nanopoet.prosody.rhyme import _table, groups, readings, tones


def test_the_table_is_whole() -> None:
    table = _table()
    assert len({reading.group for each in table.values() for reading in each}) == 106
    assert len(table) == 8550  # without the Latin letters of a note in the table
    assert all("\u3400" <= character <= "\u9fff" for character in table)


def test_entering_tones_are_oblique_and_a_group_of_their_own() -> None:
    assert tones("月") == tones("白") == {"仄"}
    assert groups("月") == {"入聲六月"}


def test_a_character_of_the_table_keeps_its_own_readings() -> None:
    """The table has 云 (say), so the readings of 雲, which is simplified to 云, do not count."""
    assert groups("云") == {"上平聲十二文"}
    assert groups("后") == groups("後") - groups("後") | groups("后")


def test_a_variant_that_the_table_lacks_has_the_readings_of_the_others() -> None:
    assert readings("国") == readings("國")
    assert readings("爲") == readings("為")


def test_a_character_without_a_known_variant_has_no_reading() -> None:
    for character in "A，1𠮷":
        assert readings(character) == frozenset()
