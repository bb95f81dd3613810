"""Forward passes, written once, over a table of ops.

A generator's module has functions of the same names and meaning, which the loop in
`minigen.sample` calls and nothing else:

    guides(guidance)         is the unconditional half needed at all?
    check_plan(config, plan) InputError for an order that the model cannot draw in
    table_rows(...)          on the host: the rows of the table that positions have
    prompt(...)              on the host: what it is told first, class and known tokens
    begin(...)               a state that has read the prompt
    ask(...)                 the logits at positions
    feed(...)                the state, once it has read the tokens drawn there
    rotary_table(...)        on the host: how positions turn, or None

The state is a frozen dataclass of the module's own, such as its cache; the loop hands
it on and never looks into it.
"""
