"""Checks `cargo metadata` on standard input against the lists of deny.toml."""

import json
import re
import sys

REGISTRY = "registry+https://github.com/rust-lang/crates.io-index"


def strings(text, key):
    """The list `key` of a TOML text, where it stands first."""
    found = re.search(rf"^{key} *= *\[(.*?)\]", text, re.M | re.S)
    return re.findall(r'"([^"]*)"', found.group(1)) if found else []


def exceptions(text):
    """Licences allowed for single crates: `{ crate = "name", allow = ["licence"] }`."""
    found = re.findall(r'\{ *crate *= *"([^"]+)", *allow *= *\[([^\]]*)\] *\}', text)
    return {name: re.findall(r'"([^"]*)"', allowed) for name, allowed in found}


def permitted(expression, allowed):
    """Whether an SPDX expression can be met by allowed licences alone."""
    tokens = re.findall(r"\(|\)|[^()\s]+", expression.replace("/", " OR "))

    def either():
        met = both()
        while tokens and tokens[0] == "OR":
            tokens.pop(0)
            met = both() or met
        return met

    def both():
        met = one()
        while tokens and tokens[0] == "AND":
            tokens.pop(0)
            met = one() and met
        return met

    def one():
        token = tokens.pop(0)
        if token == "(":
            met = either()
            tokens.pop(0)
            return met
        if tokens[:1] == ["WITH"]:
            token = f"{token} WITH {tokens[1]}"
            del tokens[:2]
        return token in allowed

    return either()


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        rules = file.read()
    allowed, single = strings(rules, "allow"), exceptions(rules)
    wrong, counted = [], 0
    for package in json.load(sys.stdin)["packages"]:
        name = f"{package['name']} {package['version']}"
        for dependency in package["dependencies"]:
            if package["source"] is None and dependency["source"] and dependency["req"] == "*":
                wrong.append(f"{name} takes any version of {dependency['name']}")
        if package["source"] is None:
            continue
        counted += 1
        if package["source"] != REGISTRY:
            wrong.append(f"{name} comes from {package['source']}")
        licence = package["license"] or "none stated"
        if not permitted(licence, allowed + single.get(package["name"], [])):
            wrong.append(f"{name} has the licence {licence}")
    if not allowed or not counted:
        wrong.append("nothing was checked: is deny.toml the right one?")
    for line in wrong:
        print(line, file=sys.stderr)
    sys.exit(1 if wrong else 0)


main()
