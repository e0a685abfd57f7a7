"""The solver cvc5 as the program that Cedar's symbolic compiler expects, over the library's API.

Reads SMT-LIB commands from standard input and answers each on standard output, as
`cvc5 --lang smt` does. The package installs the library and no program. Of the arguments, only
`--tlimit=MILLISECONDS` has a meaning here: the time for one query.
"""

import sys

import cvc5


class Session:
    """One solver; `(reset)` begins another one."""

    def __init__(self, limit):
        self.limit = limit
        self.begin()

    def begin(self):
        terms = cvc5.TermManager()
        self.solver = cvc5.Solver(terms)
        self.symbols = cvc5.SymbolManager(terms)
        self.solver.setOption("incremental", "true")
        if self.limit:
            self.solver.setOption("tlimit-per", self.limit)

    def answer(self, text):
        """What the solver says to one command."""
        if text == "(reset)":
            self.begin()
            return ""
        parser = cvc5.InputParser(self.solver, self.symbols)
        parser.setStringInput(cvc5.InputLanguage.SMT_LIB_2_6, text, "query")
        command = parser.nextCommand()
        return "" if command.isNull() else str(command.invoke(self.solver, self.symbols))


def commands(lines):
    """Each top-level `(…)`, across lines; knows texts, quoted symbols and comments."""
    depth, within, held = 0, None, []
    for line in lines:
        for character in line:
            if within == ";":
                within = None if character == "\n" else within
                continue
            if within:
                within = None if character == within else within
            elif character == ";":
                within = ";"
                continue
            elif character in "\"|":
                within = character
            elif character == "(":
                depth += 1
            elif character == ")":
                depth -= 1
            if depth or character == ")":
                held.append(character)
            if not depth and held and not within:
                yield "".join(held)
                held = []


def main():
    limits = [one.removeprefix("--tlimit=") for one in sys.argv if one.startswith("--tlimit=")]
    session = Session(limits[-1] if limits else None)
    for text in commands(sys.stdin):
        if text == "(exit)":
            return
        try:
            said = session.answer(text)
        except RuntimeError as error:
            said = f'(error "{str(error).strip()}")\n'
        if said:
            sys.stdout.write(said)
            sys.stdout.flush()


main()
