/*
 * fuzz_reply.c - any octets as replies of a server.
 *
 * What must hold: how the octets are cut into pieces makes no difference; a
 * complete reply has a code of 200 to 599, its text is within bounds and free of
 * control characters, and every line lies inside the text.
 */
#include <greenarrow/mail.h>

#include "fuzz.h"

static const struct fuzz_input inputs[] = {
	FUZZ_INPUT("220 mail.example ESMTP\r\n250-mail.example\r\n250-SIZE 1000\r\n250 HELP\r\n"),
	FUZZ_INPUT("550-5.1.1 no\r\n550 5.1.1 such user\r\n354\r\n"),
	FUZZ_INPUT("250-\0\r\n250-\r\n250\r\n421 4.4.2 \x1b[0m\r\n"),
};

static struct ga_reply_parser whole, pieces;

static void check_reply(const struct ga_reply_parser *r)
{
	FUZZ_CHECK(r->code >= 200 && r->code <= 599);
	FUZZ_CHECK(r->lines >= 1 && r->lines <= GA_REPLY_LINES && r->n <= GA_REPLY_TEXT);
	for (unsigned i = 0; i <= r->lines; i++) {
		struct ga_str line = ga_reply_line(r, i);

		FUZZ_CHECK(line.n == 0 || (line.p >= r->text && line.p + line.n <= r->text + r->n));
		for (size_t j = 0; j < line.n; j++)
			FUZZ_CHECK((unsigned char)line.p[j] >= 32 && line.p[j] != 127);
	}
	FUZZ_CHECK(ga_reply_enhanced(r).n <= 9);
}

/* The same octets one by one: same end, same text. */
static size_t in_pieces(const char *p, size_t n, int *state)
{
	size_t used = 0;

	ga_reply_reset(&pieces);
	*state = 0;
	while (used < n && *state == 0)
		used += ga_reply_feed(&pieces, p + used, 1, state);
	return used;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	const char *p = (const char *)data;
	int state = 1, state2;

	ga_reply_reset(&whole);
	while (n > 0 && state == 1) {
		size_t used = ga_reply_feed(&whole, p, n, &state);

		FUZZ_CHECK(used > 0 && used <= n);
		FUZZ_CHECK(in_pieces(p, n, &state2) == used && state2 == state);
		FUZZ_CHECK(whole.n == pieces.n && memcmp(whole.text, pieces.text, whole.n) == 0);
		if (state == 1)
			check_reply(&whole);
		p += used;
		n -= used;
	}
	return 0;
}

FUZZ_MAIN(inputs);
