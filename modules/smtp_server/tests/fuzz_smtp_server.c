/*
 * fuzz_smtp_server.c - any octets from a client.
 *
 * What must hold: replies are lines of RFC 5321; nothing that only looks like the end
 * of data begins a transaction; what is stored has no NUL and no CR or LF alone, but for
 * the body of binary mail; how the octets are cut makes no difference, but where a client is refused for not waiting; and
 * when it has gone everything it used has come back (world_disconnect).
 */
#include "../../../tests/fuzz/fuzz.h"
#include "world.h"

#include <strings.h>

#define ENVELOPE "EHLO c.example\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\n"
#define BEGIN ENVELOPE "DATA\r\n"

static const struct fuzz_input inputs[] = {
	FUZZ_INPUT(BEGIN "Subject: hi\r\n\r\n..dot\r\n.\r\nQUIT\r\n"),
	FUZZ_INPUT(BEGIN "a\n.\r\nMAIL FROM:<evil@example.org>\r\n.\r\nNOOP\r\n"),
	FUZZ_INPUT("HELO [192.0.2.1]\r\nMAIL FROM:<> \r\nRCPT TO:<postmaster>\r\nRSET\r\nVRFY x\r\n"),
	FUZZ_INPUT("EHLO c\r\nSTARTTLS\r\nEHLO d\r\nMAIL FROM:<\"a b\"@x.example> SIZE=10 BODY=7BIT\r\n"
	    "RCPT TO:<@h.example:c@[192.0.2.9]>\r\nDATA\r\n.\r\n"),
	FUZZ_INPUT(ENVELOPE "BDAT 10\r\nSubject: hBDAT 4 LAST\r\ni\r\nxMAIL FROM:<> BODY=BINARYMIME\r\n"
	    "RCPT TO:<b@example.net>\r\nBDAT 0\r\nBDAT 12 LAST\r\na: b\r\n\r\n\0\r\n.DATA\r\n"),
	FUZZ_INPUT("EHLO c\r\nMAIL FROM:<>\r\nBDAT 3\r\nxyzRCPT TO:<b@example.net>\r\nRSET\r\nBDAT 6 LAST\r\nRSET\r\n"
	    "BDAT 18446744073709551615 LAST\r\nNOOP\r\n"),
	FUZZ_INPUT("EHLO c\r\nMAIL FROM:<\xc3\xbc@b\xc3\xbc.example> SMTPUTF8 RET=HDRS ENVID=a+2Bb\r\nVRFY \xc3\xbc SMTPUTF8\r\n"
	    "RCPT TO:<\xc3\xbc@x.example> NOTIFY=SUCCESS,DELAY ORCPT=utf-8;\xc3\xbc@x\r\nRCPT TO:<b@x.example> NOTIFY=NEVER "
	    "ORCPT=rfc822;a+3D\r\nBDAT 8 LAST\r\na: b\r\n\r\n"),
	FUZZ_INPUT("EHLO c\r\nSTARTTLS\r\nEHLO c\r\nMAIL FROM:<> REQUIRETLS BODY=BINARYMIME\r\nRCPT TO:<b@example.net>\r\n"
	    "BDAT 5\r\na: b\rBDAT 6 LAST\r\n\n\r\n\0\n\r"),
	FUZZ_INPUT(BEGIN "Received: a\r\nReceived: b\r\nReceived: c\r\n\r\n.\r\nGET / HTTP/1.0\r\n"),
};

struct result {
	char *said;
	size_t messages;
	uint32_t hash;
};

static struct world *world;

static void
check_replies(const char *p)
{
	while (*p != '\0') {
		const char *end = strstr(p, "\r\n");

		FUZZ_CHECK(end != NULL && end - p >= 4 && end - p <= 510);
		FUZZ_CHECK(strchr("2345", p[0]) != NULL && (p[3] == ' ' || p[3] == '-'));
		for (; p < end; p++)
			FUZZ_CHECK((unsigned char)*p >= 32 && (unsigned char)*p < 127);
		p = end + 2;
	}
}

static void
check_text(struct ga_str t)
{
	for (size_t i = 0; i < t.n; i++) {
		FUZZ_CHECK(t.p[i] != '\0');
		FUZZ_CHECK(t.p[i] != '\n' || (i > 0 && t.p[i - 1] == '\r'));
		FUZZ_CHECK(t.p[i] != '\r' || (i + 1 < t.n && t.p[i + 1] == '\n'));
	}
}

/* How often the octets that end a message, and no others, are in the input: the dot,
 * or the word that the last BDAT has. */
static size_t
ends_in(const uint8_t *p, size_t n)
{
	size_t ends = 0;

	for (size_t i = 0; i + 3 <= n; i++) {
		if (memcmp(p + i, ".\r\n", 3) == 0 &&
		    (i >= 2 && p[i - 2] == '\r' && p[i - 1] == '\n'))
			ends++;
		if (n - i >= 4 && strncasecmp((const char *)p + i, "LAST", 4) == 0)
			ends++;
	}
	return ends;
}

static struct result
run(const uint8_t *data, size_t n, size_t piece)
{
	struct result r = { .hash = 0 };

	world->nmessages = 0;
	world->last_id = 0;
	world->piece = piece;
	world_connect(world);
	world_send(world, (const char *)data, n);
	world_disconnect(world);
	FUZZ_CHECK(!world->connected && world->worker->nsessions == 0);
	FUZZ_CHECK(world->reserved == 0 && world->uploads == 0 && world->waiting == NULL);
	r.said = strdup(world_heard(world));
	r.messages = world->nmessages;
	for (size_t i = 0; i < r.messages && i < WORLD_MESSAGES; i++) {
		const struct world_message *m = &world->messages[i];
		struct ga_str t = m->text;

		check_text(m->flags & GA_MSG_BINARYMIME ? (struct ga_str){ t.p, m->header_size } : t);
		r.hash = r.hash * 31 + ga_str_hash(world_after_trace(t), false);
	}
	ga_pool_reset(world->pool);
	return r;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct result whole, cut;

	if (world == NULL) {
		world = world_new("max_message_size 100KiB\nreceived_max 2");
		world->gen->tls = (struct ga_tls_server *)(void *)world;
	}
	whole = run(data, n, SIZE_MAX);
	check_replies(whole.said);
	FUZZ_CHECK(whole.messages <= ends_in(data, n));
	cut = run(data, n, 1 + n % 7);
	check_replies(cut.said);
	if (strstr(whole.said, "421 4.5.0") == NULL && strstr(whole.said, "554 5.5.1 C") == NULL &&
	    strstr(cut.said, "421 4.5.0") == NULL && strstr(cut.said, "554 5.5.1 C") == NULL) {
		FUZZ_CHECK(whole.messages == cut.messages && whole.hash == cut.hash);
		FUZZ_CHECK(strcmp(whole.said, cut.said) == 0);
	}
	free(whole.said);
	free(cut.said);
	return 0;
}

FUZZ_MAIN(inputs);
