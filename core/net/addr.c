/*
 * addr.c - socket addresses and CIDR blocks (net.h).
 *
 * Pure functions, any thread; linked into the CLI too.  No names are looked up
 * here: what is not a number is not an address.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include <greenarrow/net.h>

static struct sockaddr_in *in4(struct ga_sockaddr *a)
{
	return (struct sockaddr_in *)(void *)&a->u.ss;
}

static struct sockaddr_in6 *in6(struct ga_sockaddr *a)
{
	return (struct sockaddr_in6 *)(void *)&a->u.ss;
}

static const struct sockaddr_in *in4c(const struct ga_sockaddr *a)
{
	return (const struct sockaddr_in *)(const void *)&a->u.ss;
}

static const struct sockaddr_in6 *in6c(const struct ga_sockaddr *a)
{
	return (const struct sockaddr_in6 *)(const void *)&a->u.ss;
}

static bool parse_host(struct ga_sockaddr *a, struct ga_str host)
{
	char text[INET6_ADDRSTRLEN];

	memset(a, 0, sizeof(*a));
	if (host.n == 0 || host.n >= sizeof(text) || memchr(host.p, 0, host.n) != NULL)
		return false;
	memcpy(text, host.p, host.n);
	text[host.n] = 0;
	if (inet_pton(AF_INET, text, &in4(a)->sin_addr) == 1) {
		a->u.sa.sa_family = AF_INET;
		a->len = sizeof(struct sockaddr_in);
		return true;
	}
	if (inet_pton(AF_INET6, text, &in6(a)->sin6_addr) == 1) {
		a->u.sa.sa_family = AF_INET6;
		a->len = sizeof(struct sockaddr_in6);
		return true;
	}
	return false;
}

/* Decimal digits only, at most max. */
static bool parse_number(struct ga_str s, unsigned max, unsigned *out)
{
	unsigned v = 0;

	if (s.n == 0 || s.n > 5)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
		v = v * 10 + (unsigned)(s.p[i] - '0');
	}
	*out = v;
	return v <= max;
}

static struct ga_str part(struct ga_str s, size_t from, size_t to)
{
	return (struct ga_str){ s.p + from, to - from };
}

/* Splits "[host]tail" and "host"; the tail begins with what follows. */
static bool split_brackets(struct ga_str s, struct ga_str *host, struct ga_str *tail)
{
	const char *end;

	if (s.n == 0 || s.p[0] != '[')
		return false;
	end = memchr(s.p, ']', s.n);
	if (end == NULL)
		return false;
	*host = part(s, 1, (size_t)(end - s.p));
	*tail = part(s, (size_t)(end - s.p) + 1, s.n);
	return true;
}

bool ga_sockaddr_parse(struct ga_sockaddr *a, struct ga_str s, uint16_t port)
{
	struct ga_str host = s, tail = { "", 0 };
	unsigned number = port;

	memset(a, 0, sizeof(*a));
	if (s.n > 0 && s.p[0] == '[') {
		if (!split_brackets(s, &host, &tail))
			return false;
	} else {
		const char *colon = s.n > 0 ? memchr(s.p, ':', s.n) : NULL;
		size_t at = colon != NULL ? (size_t)(colon - s.p) : s.n;

		/* More than one colon is an IPv6 address without a port. */
		if (colon != NULL && memchr(colon + 1, ':', s.n - at - 1) == NULL) {
			host = part(s, 0, at);
			tail = part(s, at, s.n);
		}
	}
	if (tail.n > 0 && (tail.p[0] != ':' || !parse_number(part(tail, 1, tail.n), 65535, &number)))
		return false;
	if (!parse_host(a, host))
		return false;
	/* Brackets are for IPv6; "[192.0.2.1]" is a literal of mail, not of sockets. */
	if (s.p[0] == '[' && a->u.sa.sa_family != AF_INET6)
		return false;
	ga_sockaddr_set_port(a, (uint16_t)number);
	return true;
}

const char *ga_sockaddr_text(const struct ga_sockaddr *a, bool with_port, char buf[GA_SOCKADDR_TEXT])
{
	char host[INET6_ADDRSTRLEN] = "";

	if (a->len > 0 && a->u.sa.sa_family == AF_INET)
		inet_ntop(AF_INET, &in4c(a)->sin_addr, host, sizeof(host));
	else if (a->len > 0 && a->u.sa.sa_family == AF_INET6)
		inet_ntop(AF_INET6, &in6c(a)->sin6_addr, host, sizeof(host));
	if (host[0] == 0)
		snprintf(buf, GA_SOCKADDR_TEXT, "%s", a->len > 0 && a->u.sa.sa_family == AF_UNIX ? "local" : "-");
	else if (!with_port)
		snprintf(buf, GA_SOCKADDR_TEXT, "%s", host);
	else if (a->u.sa.sa_family == AF_INET)
		snprintf(buf, GA_SOCKADDR_TEXT, "%s:%u", host, ga_sockaddr_port(a));
	else
		snprintf(buf, GA_SOCKADDR_TEXT, "[%s]:%u", host, ga_sockaddr_port(a));
	return buf;
}

uint16_t ga_sockaddr_port(const struct ga_sockaddr *a)
{
	if (a->len > 0 && a->u.sa.sa_family == AF_INET)
		return ntohs(in4c(a)->sin_port);
	if (a->len > 0 && a->u.sa.sa_family == AF_INET6)
		return ntohs(in6c(a)->sin6_port);
	return 0;
}

void ga_sockaddr_set_port(struct ga_sockaddr *a, uint16_t port)
{
	if (a->u.sa.sa_family == AF_INET)
		in4(a)->sin_port = htons(port);
	else if (a->u.sa.sa_family == AF_INET6)
		in6(a)->sin6_port = htons(port);
}

bool ga_sockaddr_equal(const struct ga_sockaddr *a, const struct ga_sockaddr *b, bool with_port)
{
	if (a->len == 0 || b->len == 0)
		return a->len == b->len;
	if (a->u.sa.sa_family != b->u.sa.sa_family)
		return false;
	if (with_port && ga_sockaddr_port(a) != ga_sockaddr_port(b))
		return false;
	if (a->u.sa.sa_family == AF_INET)
		return in4c(a)->sin_addr.s_addr == in4c(b)->sin_addr.s_addr;
	if (a->u.sa.sa_family == AF_INET6)
		return in6c(a)->sin6_scope_id == in6c(b)->sin6_scope_id &&
		    memcmp(&in6c(a)->sin6_addr, &in6c(b)->sin6_addr, 16) == 0;
	return false;
}

/* The address's octets; an IPv4 address in IPv6 clothes is an IPv4 address. */
static uint8_t octets_of(const struct ga_sockaddr *a, uint8_t out[16])
{
	static const uint8_t mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

	memset(out, 0, 16);
	if (a->len > 0 && a->u.sa.sa_family == AF_INET) {
		memcpy(out, &in4c(a)->sin_addr, 4);
		return AF_INET;
	}
	if (a->len == 0 || a->u.sa.sa_family != AF_INET6)
		return AF_UNSPEC;
	memcpy(out, &in6c(a)->sin6_addr, 16);
	if (memcmp(out, mapped, sizeof(mapped)) != 0)
		return AF_INET6;
	memmove(out, out + 12, 4);
	memset(out + 4, 0, 12);
	return AF_INET;
}

static void mask(uint8_t addr[16], unsigned bits)
{
	for (unsigned i = 0; i < 16; i++) {
		unsigned keep = bits > i * 8 ? bits - i * 8 : 0;

		if (keep < 8)
			addr[i] &= (uint8_t)(0xff00u >> keep);
	}
}

bool ga_cidr_parse(struct ga_cidr *c, struct ga_str s)
{
	struct ga_str host = s, tail = { "", 0 };
	struct ga_sockaddr a;
	unsigned bits, max;

	memset(c, 0, sizeof(*c));
	if (!split_brackets(s, &host, &tail)) {
		const char *slash = s.n > 0 ? memchr(s.p, '/', s.n) : NULL;
		size_t at = slash != NULL ? (size_t)(slash - s.p) : s.n;

		host = part(s, 0, at);
		tail = part(s, at, s.n);
	}
	if (!parse_host(&a, host))
		return false;
	max = bits = a.u.sa.sa_family == AF_INET ? 32 : 128;
	if (tail.n > 0 && (tail.p[0] != '/' || !parse_number(part(tail, 1, tail.n), max, &bits)))
		return false;
	c->family = octets_of(&a, c->addr);
	if (c->family == AF_INET && max == 128) {
		if (bits < 96)
			return false;
		bits -= 96;
	}
	c->bits = (uint8_t)bits;
	mask(c->addr, bits);
	return true;
}

bool ga_cidr_match(const struct ga_cidr *c, const struct ga_sockaddr *a)
{
	uint8_t addr[16];

	if (octets_of(a, addr) != c->family || c->family == AF_UNSPEC)
		return false;
	mask(addr, c->bits);
	return memcmp(addr, c->addr, sizeof(addr)) == 0;
}
