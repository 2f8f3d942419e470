/*
 * fuzz_proxy_header.c - any octets in front of a session.
 *
 * What must hold: a header is taken at the same place however its octets come, nothing is
 * asked for beyond it, and the addresses that it names are addresses.
 */
#include "../../../tests/fuzz/fuzz.h"
#include "../proxy_header.h"

static const struct fuzz_input inputs[] = {
	FUZZ_INPUT("PROXY TCP4 192.0.2.1 192.0.2.2 4711 25\r\nEHLO"),
	FUZZ_INPUT("PROXY TCP6 2001:db8::1 2001:db8::2 65535 0\r\n"),
	FUZZ_INPUT("PROXY UNKNOWN\r\n"),
	FUZZ_INPUT("PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n"),
	FUZZ_INPUT("\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\2\1\xc0\0\2\2\x12\x67\0\x19rest"),
	FUZZ_INPUT("\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x2b" "aaaaaaaaaaaaaaaabbbbbbbbbbbbbbbb\x12\x67\0\x19\4\0\4abcd"),
	FUZZ_INPUT("\r\n\r\n\0\r\nQUIT\n\x20\0\0\0rest"),
};

/* As proxy.c reads: never more than is asked for. */
static enum smtpd_proxy
by_need(const char *p, size_t n, struct smtpd_proxy_header *h, size_t *asked)
{
	enum smtpd_proxy state;
	size_t have = 0;

	*asked = 1;
	do {
		if (*asked > n)
			return SMTPD_PROXY_MORE;
		have = *asked;
		state = smtpd_proxy_parse(p, have, h);
		FUZZ_CHECK(state != SMTPD_PROXY_MORE || (h->need > 0 && have + h->need <= SMTPD_PROXY_MAX));
		*asked = have + h->need;
	} while (state == SMTPD_PROXY_MORE);
	*asked = have;
	return state;
}

static void
check_address(const struct ga_sockaddr *a)
{
	struct ga_sockaddr again;
	char text[GA_SOCKADDR_TEXT];

	FUZZ_CHECK(ga_sockaddr_parse(&again, ga_str_c(ga_sockaddr_text(a, true, text)), 0));
	FUZZ_CHECK(ga_sockaddr_equal(a, &again, true));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	const char *p = (const char *)data;
	struct smtpd_proxy_header whole, cut;
	enum smtpd_proxy state, again;
	size_t asked;

	if (n == 0)
		return 0;
	state = smtpd_proxy_parse(p, n, &whole);
	again = by_need(p, n, &cut, &asked);
	if (state == SMTPD_PROXY_BAD) {
		FUZZ_CHECK(whole.why != NULL);
		/* it may want the rest of what is bad already */
		FUZZ_CHECK(again == SMTPD_PROXY_BAD || again == SMTPD_PROXY_MORE);
		return 0;
	}
	FUZZ_CHECK(again == state);
	if (state == SMTPD_PROXY_MORE)
		return 0;
	FUZZ_CHECK(whole.used <= n && whole.used == cut.used && asked == cut.used);
	if (state == SMTPD_PROXY_NAMED) {
		check_address(&whole.peer);
		check_address(&whole.local);
	}
	return 0;
}

FUZZ_MAIN(inputs);
