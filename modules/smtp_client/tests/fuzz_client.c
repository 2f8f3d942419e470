/*
 * fuzz_client.c - any octets of a server, at any moment of a session.
 *
 * The input is what the server says; control characters in it are events: the
 * connection is made, refused, closed, TLS succeeds or fails, time passes, DONEs
 * become durable, work comes, the stream blocks, the daemon stops.
 * What must hold: every ticket comes home exactly once with a result; each slot is
 * given back exactly once; after the stop nothing is left; no bare CR or LF and no
 * NUL was sent; a success was answered 2yz to a dot that was sent.
 */
#include "config.h"

#include "fake.h"

#include "../../../tests/fuzz/fuzz.h"

enum { ACCEPT = 1, REFUSE, END, TLS_OK, TLS_BAD, TEN_SECONDS, TEN_MINUTES, DURABLE = 11, WORK,
	BLOCK = 14, UNBLOCK, STOP, SAY };

#define MAIL "250 ok\r\n"
#define TXN MAIL "250 ok\r\n250 ok\r\n354 go\r\n\x11" "250 2.0.0 ok\r\n\x11"
#define HELLO "\1220 mx\r\n\x11" "250-mx\r\n250-SIZE 99\r\n250-STARTTLS\r\n250 PIPELINING\r\n\x11"
#define TLS "220 go\r\n\x11\4" "250-mx\r\n250 PIPELINING\r\n\x11"

static const struct fuzz_input inputs[] = {
	FUZZ_INPUT(HELLO TLS TXN "\14" TXN "\14\3" HELLO TLS TXN "\6\7"),
	FUZZ_INPUT("\2\1" "554 no\r\n\x11" HELLO "220 go\r\n\x11\5" HELLO TXN),
	FUZZ_INPUT("\1220 mx\r\n\x11" "502 what\r\n\x11" "250 mx\r\n\x11" MAIL "\x11" "550 no\r\n\x11"
	    "250 ok\r\n\x11" "354 go\r\n\x11\20" "250 ok\r\n"),
	FUZZ_INPUT(HELLO TLS MAIL "250 ok\r\n452 4.5.3 no\r\n354 go\r\n\x11" "250 ok\r\n\x11" TXN),
	FUZZ_INPUT(HELLO TLS "550 no\r\n550 no\r\n550 no\r\n354 go\r\n\x11" "554 no\r\n\x11\14\13" TXN "\20"),
	FUZZ_INPUT("\1220 mx\r\n\x11" "250 PIPELINING\r\n\x11\16" TXN "\17\13" "421 bye\r\n\x11\3"),
};

static unsigned tickets, slots;

static void
work(void)
{
	struct ga_route *r = fake_route("y.example", 3);
	struct ga_batch b = fake_batch(r, "Subject: x\r\n\r\n.\r\nHello\r\n", 2, tickets % 4 == 0);

	ga_route_unref(r);
	tickets += 2;
	if (fake.stream == NULL && !fake.opening) {
		slots++;
		fake_open(b);
	} else if (!fake_offer(b)) {
		if (fake.next.n > 0)
			fake_discard(b);
		else
			fake.next = b;
	}
}

static void
event(uint8_t what)
{
	static bool hold;

	switch (what) {
	case ACCEPT: if (fake.opening) fake_accept(); break;
	case REFUSE: if (fake.opening) fake_refuse(); break;
	case END: fake_eof(); break;
	case TLS_OK: if (fake.handshakes > 0 && fake.in_handshake) fake_tls(NULL); break;
	case TLS_BAD: if (fake.handshakes > 0 && fake.in_handshake) fake_tls("no"); break;
	case TEN_SECONDS: fake_advance(10000); break;
	case TEN_MINUTES: fake_advance(600000); break;
	case DURABLE: fake_durable(); fake.hold_dones = hold = !hold; break;
	case WORK: if (tickets < 64) work(); break;
	case BLOCK: fake.write_room = 3; break;
	case UNBLOCK: fake.write_room = SIZE_MAX; fake_says(""); break;
	case STOP: fake_drain(); break;
	default: break;
	}
}

static bool
is_event(uint8_t c)
{
	return (c >= ACCEPT && c <= TEN_MINUTES) || c == DURABLE || c == WORK ||
	    (c >= BLOCK && c <= SAY);
}

static void
check_sent(void)
{
	for (size_t i = 0; i < fake.ntx; i++) {
		FUZZ_CHECK(fake.tx[i] != '\0');
		FUZZ_CHECK(fake.tx[i] != '\n' || (i > 0 && fake.tx[i - 1] == '\r'));
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	size_t from = 0, at = 0;
	unsigned successes = 0;

	if (n > 4096)
		return 0;
	fake_begin();
	fake.settings.conf.reuse_connections = true;
	tickets = slots = 0;
	work();
	for (at = 0; at < n; at++) {
		if (!is_event(data[at]))
			continue;
		if (at > from)
			fake_says_n((const char *)data + from, at - from);
		event(data[at]);
		from = at + 1;
	}
	fake_says_n((const char *)data + from, n - from);
	fake_discard(fake.next);
	fake.next = (struct ga_batch){ NULL, 0 };
	fake_end();
	check_sent();
	FUZZ_CHECK(fake.nresults == tickets);
	FUZZ_CHECK(fake.closed == slots);
	for (unsigned i = 0; i < fake.nresults; i++) {
		if (fake.results[i].result != GA_RESULT_SUCCESS)
			continue;
		successes++;
		FUZZ_CHECK(fake.results[i].code / 100 == 2 && fake.results[i].recorded);
	}
	FUZZ_CHECK(successes == 0 || memmem(fake.tx, fake.ntx, "\r\n.\r\n", 5) != NULL);
	return 0;
}

FUZZ_MAIN(inputs);
