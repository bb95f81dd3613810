"""Forward passes, written once, over a table of ops.

A generator's module has functions of the same names and meaning, which the loop in
`minigen.sample` calls and nothing else:

    guides(guidance)         is the unconditional half needed at all?
    check_plan(config, plan) InputError for an order or a grid it cannot draw in
    begin(...)               a state that has read the prompt
    ask(...)                 what it says of positions: logits, or what its head is told
    feed(...)                the state, once it has read the tokens drawn there

What a run reads and how its tokens are drawn depends on what a token is: the number of
a code (`codes`), or a vector of features (`masked`). A module of the first kind also
has

    table_rows(...)          on the host: the rows of the table that positions have
    prompt(...)              on the host: what it is told first, class and known tokens
    rotary_table(...)        on the host: how positions turn, or None

and one of the second kind a head, which draws:

    table(config)            on the host: what the head reads at every step, or None
    draw(...)                the tokens at positions

The state is a frozen dataclass of the module's own, such as its cache; the loop hands
it on and never looks into it.
"""
