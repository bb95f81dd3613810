"""Forward passes, written once, over a table of ops.

The module of a generator has these functions. The loop in `minigen.sample` calls them,
and no others:

    guides(guidance)         is the unconditional half computed at all?
    check_plan(config, plan) InputError for an order or a grid it cannot draw in
    begin(...)               the state after it has read the first of the prompt
    ask(...)                 logits at positions, or conditioning vectors for its head
    feed(...)                the state after it has read tokens

The last argument of `begin` and `feed` says how the tokens of one call are read, which
makes a difference for ARPG alone (`arpg.READINGS`).

A token is either the number of a code (`codes`) or a vector of features (`masked`). For
tokens of the first kind a module also has

    table_rows(...)          on the host: the row of a position in the position table
    prompt(...)              on the host: what it reads first, class and known tokens
    rotary_table(...)        on the host: the rotary table of positions, or None

and for tokens of the second kind a head, which draws them:

    table(config)            on the host: what the head reads at every step, or None
    draw(...)                the tokens at positions

If condition tokens are given, the loop hands them to `arpg.control` after the prompt.

The state is a frozen dataclass of the module, such as its KV cache. The loop passes it
on and never looks into it.
"""
