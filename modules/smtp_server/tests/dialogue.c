/*
 * dialogue.c - the steps of dialogue.h.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dialogue.h"

void
expect_n(struct world *w, const char *send, size_t n, const char *reply)
{
	const char *heard;

	world_send(w, send, n);
	heard = world_heard(w);
	if (strncmp(heard, reply, strlen(reply)) != 0)
		fail_msg("to \"%.60s\": \"%s\", not \"%s\"", send, heard, reply);
}

void
expect(struct world *w, const char *send, const char *reply)
{
	expect_n(w, send, strlen(send), reply);
}

struct world *
connected(const char *statements)
{
	struct world *w = world_new(statements);

	world_connect(w);
	expect(w, "", "220 test\r\n");
	return w;
}

struct world *
greeted(const char *statements)
{
	struct world *w = connected(statements);

	expect(w, HELLO, "250-");
	return w;
}

void
assert_text(const struct world_message *m, const char *text, size_t n)
{
	assert_true(m->text.n > n);
	assert_memory_equal(m->text.p + m->text.n - n, text, n);
	assert_true(ga_str_starts(m->text, GA_STR("Received: from client.example ([192.0.2.1])\r\n\tby ")));
}

void
assert_str(struct ga_str s, const char *text)
{
	assert_int_equal(s.n, strlen(text));
	assert_memory_equal(s.p, text, s.n);
}

const struct world_message *
last_message(const struct world *w)
{
	assert_true(w->nmessages > 0);
	return &w->messages[(w->nmessages - 1) % WORLD_MESSAGES];
}

char *
large(size_t n)
{
	char *text = malloc(n + 4);

	for (size_t i = 0; i < n; i += 10)
		memcpy(text + i, "x: abcde\r\n", 10);
	memcpy(text + 10, "\r\nabcdef\r\n", 10);	/* a header of 12 octets */
	memcpy(text + n, ".\r\n", 3);
	return text;
}
