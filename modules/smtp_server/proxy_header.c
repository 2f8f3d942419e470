/*
 * proxy_header.c - see proxy_header.h.
 *
 * Called by proxy.c with what has come so far, from the beginning each time: a header
 * is short, and comes in one piece nearly always.  Everything in it is hostile until
 * it has been checked: lengths first, then every character.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "proxy_header.h"

/* --- addresses --- */

static void
set_address(struct ga_sockaddr *a, int family, const void *octets, uint16_t port)
{
	memset(a, 0, sizeof *a);
	if (family == AF_INET) {
		struct sockaddr_in *in = (void *)&a->u.ss;

		in->sin_family = AF_INET;
		memcpy(&in->sin_addr, octets, 4);
		a->len = sizeof *in;
	} else {
		struct sockaddr_in6 *in6 = (void *)&a->u.ss;

		in6->sin6_family = AF_INET6;
		memcpy(&in6->sin6_addr, octets, 16);
		a->len = sizeof *in6;
	}
	ga_sockaddr_set_port(a, port);
}

static enum smtpd_proxy
more(struct smtpd_proxy_header *h, size_t need)
{
	h->need = need;
	return SMTPD_PROXY_MORE;
}

static enum smtpd_proxy
bad(struct smtpd_proxy_header *h, const char *why)
{
	h->why = why;
	return SMTPD_PROXY_BAD;
}

/* --- version 1: PROXY TCP4 192.0.2.1 192.0.2.2 4711 25 CRLF --- */

#define V1_MIN 15u			/* PROXY UNKNOWN CRLF */
#define V1_MAX 107u

/* The next word of a line, one blank behind the word before. */
static struct ga_str
next_word(struct ga_str *rest)
{
	const char *blank = memchr(rest->p, ' ', rest->n);
	struct ga_str word = { rest->p, blank != NULL ? (size_t)(blank - rest->p) : rest->n };

	rest->p += word.n + (blank != NULL);
	rest->n -= word.n + (blank != NULL);
	return word;
}

static bool
take_ip(int family, struct ga_str word, unsigned char octets[16])
{
	char text[INET6_ADDRSTRLEN];

	if (word.n == 0 || word.n >= sizeof text || memchr(word.p, '\0', word.n) != NULL)
		return false;
	memcpy(text, word.p, word.n);
	text[word.n] = '\0';
	return inet_pton(family, text, octets) == 1;
}

/* Decimal, without leading zeros. */
static bool
take_port(struct ga_str word, uint16_t *port)
{
	unsigned v = 0;

	if (word.n == 0 || word.n > 5 || (word.p[0] == '0' && word.n > 1))
		return false;
	for (size_t i = 0; i < word.n; i++) {
		if (word.p[i] < '0' || word.p[i] > '9')
			return false;
		v = v * 10 + (unsigned)(word.p[i] - '0');
	}
	*port = (uint16_t)v;
	return v <= 65535;
}

static enum smtpd_proxy
v1_addresses(int family, struct ga_str rest, struct smtpd_proxy_header *h)
{
	unsigned char from[16], to[16];
	struct ga_str source = next_word(&rest), target = next_word(&rest);
	struct ga_str source_port = next_word(&rest);
	uint16_t from_port, to_port;

	if (!take_ip(family, source, from) || !take_ip(family, target, to))
		return bad(h, "an address that is none of its family");
	if (!take_port(source_port, &from_port) || !take_port(rest, &to_port))
		return bad(h, "a port that is no number up to 65535");
	set_address(&h->peer, family, from, from_port);
	set_address(&h->local, family, to, to_port);
	return SMTPD_PROXY_NAMED;
}

static enum smtpd_proxy
parse_v1(const char *p, size_t n, struct smtpd_proxy_header *h)
{
	const char *lf = memchr(p, '\n', n < V1_MAX ? n : V1_MAX);
	struct ga_str rest, family;

	if (lf == NULL)
		return n < V1_MAX ? more(h, n < V1_MIN ? V1_MIN - n : 1) : bad(h, "a line of more than 107 octets");
	if (lf == p || lf[-1] != '\r')
		return bad(h, "a line without CRLF");
	h->used = (size_t)(lf - p) + 1;
	rest = (struct ga_str){ p + 6, h->used - 2 - 6 };
	family = next_word(&rest);
	if (ga_str_eq(family, GA_STR("UNKNOWN")))
		return SMTPD_PROXY_UNNAMED;
	if (ga_str_eq(family, GA_STR("TCP4")))
		return v1_addresses(AF_INET, rest, h);
	if (ga_str_eq(family, GA_STR("TCP6")))
		return v1_addresses(AF_INET6, rest, h);
	return bad(h, "a family that is none of TCP4, TCP6, UNKNOWN");
}

/* --- version 2: 12 octets of signature, 4 of head, addresses, TLVs --- */

static const char signature[] = "\r\n\r\n\0\r\nQUIT\n";
#define SIGNATURE (sizeof signature - 1)
#define V2_HEAD 16u

static unsigned
u16_at(const char *p)
{
	return (unsigned)(unsigned char)p[0] << 8 | (unsigned char)p[1];
}

/* Types and lengths must fill what is behind the addresses; what they say is not used. */
static bool
tlvs_fill(const char *p, size_t n)
{
	while (n >= 3 && u16_at(p + 1) <= n - 3) {
		size_t one = 3 + u16_at(p + 1);

		p += one;
		n -= one;
	}
	return n == 0;
}

static enum smtpd_proxy
v2_addresses(const char *p, size_t n, int family, size_t octets, struct smtpd_proxy_header *h)
{
	size_t need = 2 * octets + 4;

	if (n < need)
		return bad(h, "no room for its addresses");
	if (!tlvs_fill(p + need, n - need))
		return bad(h, "TLVs that do not fit");
	set_address(&h->peer, family, p, (uint16_t)u16_at(p + 2 * octets));
	set_address(&h->local, family, p + octets, (uint16_t)u16_at(p + 2 * octets + 2));
	return SMTPD_PROXY_NAMED;
}

static enum smtpd_proxy
parse_v2(const char *p, size_t n, struct smtpd_proxy_header *h)
{
	unsigned version, family;
	size_t length;

	if (n < V2_HEAD)
		return more(h, V2_HEAD - n);
	version = (unsigned char)p[12];
	family = (unsigned char)p[13];
	length = u16_at(p + 14);
	if (version >> 4 != 2 || (version & 15) > 1)
		return bad(h, "another version or command");
	if (length > SMTPD_PROXY_MAX - V2_HEAD)
		return bad(h, "a length of more than 4096 octets");
	if (n < V2_HEAD + length)
		return more(h, V2_HEAD + length - n);
	h->used = V2_HEAD + length;
	if ((version & 15) == 0)	/* LOCAL: whatever follows */
		return SMTPD_PROXY_UNNAMED;
	if (family == 0x11)		/* TCP over IPv4, over IPv6 */
		return v2_addresses(p + V2_HEAD, length, AF_INET, 4, h);
	if (family == 0x21)
		return v2_addresses(p + V2_HEAD, length, AF_INET6, 16, h);
	return SMTPD_PROXY_UNNAMED;
}

/* --- either --- */

enum smtpd_proxy
smtpd_proxy_parse(const char *p, size_t n, struct smtpd_proxy_header *h)
{
	static const char v1[] = "PROXY ";
	size_t some = n < 6 ? n : 6;

	memset(h, 0, sizeof *h);
	if (memcmp(p, v1, some) == 0)
		return n < 6 ? more(h, V1_MIN - n) : parse_v1(p, n, h);
	some = n < SIGNATURE ? n : SIGNATURE;
	if (memcmp(p, signature, some) == 0)
		return n < SIGNATURE ? more(h, V1_MIN - n) : parse_v2(p, n, h);
	return bad(h, "no PROXY header");
}
