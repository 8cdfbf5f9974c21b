"""The loops that read text: one walk over a document's characters finds its tokens, lines, paragraphs and sentences.

Everything works on the UTF-8 bytes of an Arrow string array, a batch at a time, and allocates once a batch. A token is
a maximal run of letters, digits and marks, apostrophes inside it included; a Chinese or Japanese character is a token
of its own. Tokens are compared folded (see ``characters.py``) and by 64-bit hash: two different tokens of one document
count as equal with a probability below 1e-12.
"""

from __future__ import annotations

import numpy as np

from neo_assets.core.compiled import kernel

# Classes of characters.py; a compiled loop cannot look into another module without hiding it from the cache key.
WORD, LETTER, DIGIT, SPACE = 1, 2, 4, 8
PUNCTUATION, UPPER, LOWER, IDEOGRAPH = 16, 32, 64, 128
BULLET, SENTENCE_END, SEMICOLON, CLOSER = 256, 512, 1024, 2048

COUNTS = (
    "length", "chars", "lines", "sentences", "words", "word_chars", "bullet_lines", "ellipsis_lines", "symbols",
    "hash_runs", "ellipsis_runs", "braces",
    "lorem_ipsum", "caps_words", "letterless_words", "punctuation", "letters", "digits", "read_more_ends",
    "read_more_lines", "bracketed", "paragraphs",
)  # fmt: skip
"""What :func:`scan` counts, in the order of its result."""
(
    LENGTH, CHARS, LINES, SENTENCES, WORDS, WORD_CHARS, BULLET_LINES, ELLIPSIS_LINES, SYMBOLS, HASH_RUNS,
    ELLIPSIS_RUNS, BRACES,
    LOREM, CAPS_WORDS, LETTERLESS, PUNCTUATIONS, LETTERS, DIGITS, READ_MORE_ENDS, READ_MORE_LINES, BRACKETED,
    PARAGRAPHS,
) = range(len(COUNTS))  # fmt: skip

_SEED = np.uint64(0x9E3779B97F4A7C15)
_PRIME = np.uint64(0xD6E8FEB86659FD93)
_MULTIPLIER = np.uint64(0xFF51AFD7ED558CCD)
_S32, _S29 = np.uint64(32), np.uint64(29)
_ONE, _ZERO = np.uint64(1), np.uint64(0)
_DOT, _APOSTROPHE, _HASH, _NEWLINE = ord("."), ord("'"), ord("#"), ord("\n")
_ELLIPSIS, _FULL_STOP, _OPEN, _CLOSE = ord("…"), ord("。"), ord("【"), ord("】")
_BRACE_OPEN, _BRACE_CLOSE = ord("{"), ord("}")
_LIMIT = 0x40000


@kernel
def mix(h):
    h ^= h >> _S32
    h *= _MULTIPLIER
    h ^= h >> _S29
    return h if h != _ZERO else _ONE


@kernel
def decode(data, i):
    """(code point, index of the next one) of valid UTF-8 at ``i``."""
    b = np.int64(data[i])
    if b < 0x80:
        return b, i + 1
    if b < 0xE0:
        return (b & 0x1F) << 6 | (np.int64(data[i + 1]) & 0x3F), i + 2
    if b < 0xF0:
        return (b & 0x0F) << 12 | (np.int64(data[i + 1]) & 0x3F) << 6 | (np.int64(data[i + 2]) & 0x3F), i + 3
    return (b & 0x07) << 18 | (np.int64(data[i + 1]) & 0x3F) << 12 | (np.int64(data[i + 2]) & 0x3F) << 6 | (
        np.int64(data[i + 3]) & 0x3F
    ), i + 4


@kernel
def scan(
    data,
    begin,
    end,
    flags,
    fold,
    known,
    semicolons_end,
    tokens,
    token_chars,
    lines,
    line_chars,
    paragraphs,
    paragraph_chars,
    sentences,
    sentence_chars,
    out,
):
    """One walk over ``data[begin:end]``: fills tokens, lines, paragraphs and sentences (hash and characters each) and
    the counts ``out``.

    ``known``: hashes of the tokens lorem, ipsum, read, more, readmore, 展, 开, 更, 多. Lines are stripped and not
    empty; a paragraph is what stands between blank lines.
    """
    out[:] = 0
    n_tokens = n_lines = n_paragraphs = n_sentences = 0
    length = chars = 0
    # the token under way, and the two before it
    token, token_length, in_token, alone, has_letter, has_upper, has_lower = _SEED, 0, False, False, False, False, False
    last, before = _ZERO, _ZERO
    # the line under way, and how it was up to its last character that is no space
    line, line_length, solid, solid_length, line_open, line_tokens = _SEED, 0, _SEED, 0, False, 0
    paragraph, paragraph_length, paragraph_open = _SEED, 0, False
    sentence, sentence_length, sentence_tokens = _SEED, 0, 0
    dots = stops = tail_dots = tail_stops = newlines = previous = tail = 0
    bracket = more_counted = -1
    i = begin
    while i <= end:
        if i < end:
            code, following = decode(data, i)
            length += 1
            sentence_length += 1
        else:  # as if a line ended here: whatever is open is completed below
            code, following = _NEWLINE, i + 1
        kind = np.int64(flags[code]) if code < _LIMIT else 0
        folded = np.int64(fold[code]) if code < _LIMIT else code
        ahead = 0  # classes of the character after this one
        if folded in (_APOSTROPHE, _DOT):
            ahead = SPACE
            if following < end:
                coming, _ = decode(data, following)
                ahead = np.int64(flags[coming]) if coming < _LIMIT else 0
                if coming == _DOT:
                    ahead |= CLOSER
        # ---- tokens
        joins = (
            in_token
            and not alone
            and (kind & (WORD | IDEOGRAPH) == WORD or (folded == _APOSTROPHE and ahead & (WORD | IDEOGRAPH) == WORD))
        )
        if in_token and not joins:
            before, last = last, mix(token)
            tokens[n_tokens] = last
            token_chars[n_tokens] = token_length
            n_tokens += 1
            line_tokens += 1
            sentence_tokens += 1
            sentence = (sentence ^ last) * _PRIME
            out[WORD_CHARS] += token_length
            out[CAPS_WORDS] += has_upper and not has_lower
            out[LETTERLESS] += not has_letter
            out[LOREM] += before == known[0] and last == known[1]
            in_token = False
        if kind & WORD and not joins:
            token, token_length, in_token, alone, has_letter, has_upper, has_lower = (
                _SEED,
                0,
                True,
                kind & IDEOGRAPH != 0,
                False,
                False,
                False,
            )
        if in_token:
            token = (token ^ np.uint64(folded)) * _PRIME
            token_length += 1
            has_letter |= kind & LETTER != 0
            has_upper |= kind & UPPER != 0
            has_lower |= kind & LOWER != 0
        # ---- characters and runs of marks
        if kind & SPACE == 0:
            chars += 1
            if kind & PUNCTUATION:
                out[PUNCTUATIONS] += 1
            elif kind & LETTER:
                out[LETTERS] += 1
            elif kind & DIGIT:
                out[DIGITS] += 1
        dots = dots + 1 if folded == _DOT else 0
        stops = stops + 1 if code == _FULL_STOP else 0
        if dots:
            out[ELLIPSIS_RUNS] += dots == 3
            out[SYMBOLS] += dots % 3 == 0
        elif code == _ELLIPSIS:
            out[SYMBOLS] += 1
            out[ELLIPSIS_RUNS] += previous != _ELLIPSIS
        elif stops == 3:
            out[ELLIPSIS_RUNS] += 1
        elif folded == _HASH:
            out[SYMBOLS] += 1
            out[HASH_RUNS] += previous != _HASH
        elif code in (_BRACE_OPEN, _BRACE_CLOSE):
            out[BRACES] += 1
        elif code == _OPEN:
            bracket = length
        elif code == _CLOSE and bracket >= 0:
            out[BRACKETED] += length - bracket - 1
            bracket = -1
        previous = folded
        # ---- sentences
        ends = (
            kind & SENTENCE_END != 0
            or (semicolons_end and kind & SEMICOLON != 0)
            or (dots > 0 and ahead & (SPACE | CLOSER) != 0)
        )
        if (ends or i == end) and sentence_tokens:
            if ends and n_tokens != more_counted and before == known[2] and last == known[3]:
                out[READ_MORE_ENDS] += 1
                more_counted = n_tokens
            sentences[n_sentences] = mix(sentence)
            sentence_chars[n_sentences] = sentence_length
            n_sentences += 1
            sentence, sentence_length, sentence_tokens = _SEED, 0, 0
        # ---- lines and paragraphs
        if kind & SPACE == 0:
            if not line_open:
                line_open, line_tokens = True, 0
                if newlines > 1 and paragraph_open:
                    paragraphs[n_paragraphs] = mix(paragraph)
                    paragraph_chars[n_paragraphs] = paragraph_length
                    n_paragraphs += 1
                    paragraph, paragraph_length, paragraph_open = _SEED, 0, False
                out[BULLET_LINES] += kind & BULLET != 0
            line = (line ^ np.uint64(code)) * _PRIME
            line_length += 1
            solid, solid_length, tail, tail_dots, tail_stops = line, line_length, code, dots, stops
        elif code == _NEWLINE:
            newlines += 1
            if line_open:
                if line_tokens > 1 and n_tokens != more_counted and before == known[2] and last == known[3]:
                    out[READ_MORE_ENDS] += 1
                    more_counted = n_tokens
                more = tail_stops >= 3 or (line_tokens > 0 and last == known[4])
                if line_tokens > 1:
                    more |= (
                        (before == known[2] and last == known[3])
                        or (before == known[5] and last == known[6])
                        or (before == known[7] and last == known[8])
                    )
                out[READ_MORE_LINES] += more
                out[ELLIPSIS_LINES] += tail_dots >= 3 or tail == _ELLIPSIS
                lines[n_lines] = mix(solid)
                line_chars[n_lines] = solid_length
                n_lines += 1
                paragraph = (paragraph ^ mix(solid)) * _PRIME
                paragraph_length += solid_length + paragraph_open
                line, line_length, line_open, paragraph_open, newlines = _SEED, 0, False, True, 1
        elif line_open:
            line = (line ^ np.uint64(code)) * _PRIME
            line_length += 1
        i = following
    if paragraph_open:
        paragraphs[n_paragraphs] = mix(paragraph)
        paragraph_chars[n_paragraphs] = paragraph_length
        n_paragraphs += 1
    out[LENGTH], out[CHARS], out[LINES], out[SENTENCES], out[WORDS], out[PARAGRAPHS] = (
        length,
        chars,
        n_lines,
        n_sentences,
        n_tokens,
        n_paragraphs,
    )


@kernel
def tokenise(data, offsets, flags, fold, tokens, starts):
    """Token hashes of every text, one after another; ``starts[k]`` is where text k's begin. Returns how many there are.

    The tokens of :func:`scan`, without everything else it looks at: about four times as fast.
    """
    total = 0
    for k in range(len(offsets) - 1):
        starts[k] = total
        i, end = offsets[k], offsets[k + 1]
        token, in_token, alone = _SEED, False, False
        while i < end:
            code = np.int64(data[i])
            following = i + 1
            if code >= 0x80:
                code, following = decode(data, i)
            kind = np.int64(flags[code]) if code < _LIMIT else 0
            folded = np.int64(fold[code]) if code < _LIMIT else code
            if kind & WORD:
                if in_token and (alone or kind & IDEOGRAPH):
                    tokens[total] = mix(token)
                    total += 1
                    in_token = False
                if not in_token:
                    token, in_token, alone = _SEED, True, kind & IDEOGRAPH != 0
                token = (token ^ np.uint64(folded)) * _PRIME
            elif in_token:
                joins = False
                if folded == _APOSTROPHE and not alone and following < end:
                    coming, _ = decode(data, following)
                    joins = coming < _LIMIT and flags[coming] & (WORD | IDEOGRAPH) == WORD
                if joins:
                    token = (token ^ np.uint64(folded)) * _PRIME
                else:
                    tokens[total] = mix(token)
                    total += 1
                    in_token = False
            i = following
        if in_token:
            tokens[total] = mix(token)
            total += 1
    starts[len(offsets) - 1] = total
    return total


@kernel
def table_bits(n):
    """Bits of an open-addressing table for ``n`` entries, at most half full."""
    bits = 4
    while (1 << bits) < 2 * n:
        bits += 1
    return bits


@kernel
def hash_list(keys, table, bits):
    """Put ``keys`` (uint64, none of them 0) into the zeroed open-addressing ``table`` of ``1 << bits`` places."""
    mask, shift = (1 << bits) - 1, np.uint64(64 - bits)
    for key in keys:
        slot = np.int64((key * _PRIME) >> shift)
        while table[slot] != _ZERO and table[slot] != key:
            slot = (slot + 1) & mask
        table[slot] = key


@kernel
def phrase_hash(tokens):
    h = _SEED
    for token in tokens:
        h = (h ^ token) * _PRIME
    return mix(h)
