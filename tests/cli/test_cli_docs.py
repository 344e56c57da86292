import pytest

import generate_docs


@pytest.mark.parametrize("name", generate_docs.pages())
def test_a_generated_page_is_current(name):
    """The reference pages are what the commands and the configuration's records say now; `make docs` writes them."""
    assert (generate_docs.DOCS / name).read_text(encoding="utf-8") == generate_docs.pages()[name]


def test_the_page_of_commands_has_every_command_and_code():
    """docs/cli.md explains every command, option and exit code."""
    page = generate_docs.pages()["cli.md"]
    for names in generate_docs.COMMANDS.values():
        for name in names:
            assert f"### likewise {name}\n" in page
    for code in generate_docs.MEANINGS:
        assert f"| `{code.value}` | " in page


def test_the_page_of_the_configuration_has_every_key():
    """docs/configuration.md explains every key of every block."""
    page = generate_docs.pages()["configuration.md"]
    for record in (generate_docs.RepoConfig, *(record for record, _ in generate_docs.BLOCKS.values())):
        for key in record.__struct_fields__:
            assert f"| `{key}` | " in page
