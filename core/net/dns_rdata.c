/*
 * dns_rdata.c - record data in wire format, read with suspicion (resolver.h).
 *
 * Called by whoever asked a question, any thread.  Names come uncompressed from
 * the resolver; a compression pointer here is malformed.  A label with a NUL, a
 * blank, a dot or a line break in it is legal DNS and no host's name: such names
 * would end up in HELO arguments, log lines and TLS, so they stop here.
 */
#include <netinet/in.h>
#include <string.h>

#include <greenarrow/service/resolver.h>

static char host_char(unsigned char c)
{
	if (c >= 'A' && c <= 'Z')
		return (char)(c + 32);
	if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_')
		return (char)c;
	return 0;
}

static bool put_label(struct ga_str label, char *name, size_t room, size_t *n)
{
	if (*n > 0) {
		if (*n + 1 >= room)
			return false;
		name[(*n)++] = '.';
	}
	if (label.n >= room - *n)
		return false;
	for (size_t i = 0; i < label.n; i++)
		if ((name[(*n)++] = host_char((unsigned char)label.p[i])) == 0)
			return false;
	return true;
}

bool ga_dns_name(struct ga_str rdata, char *name, size_t room)
{
	size_t at = 0, n = 0;

	if (room == 0)
		return false;
	name[0] = 0;
	if (rdata.n > 255)
		return false;
	while (at < rdata.n) {
		size_t length = (unsigned char)rdata.p[at++];

		if (length == 0) {
			name[n] = 0;
			return at == rdata.n;
		}
		if (length > 63 || length > rdata.n - at ||
		    !put_label((struct ga_str){ rdata.p + at, length }, name, room, &n))
			break;
		at += length;
	}
	name[0] = 0;
	return false;
}

bool ga_dns_mx(struct ga_str rdata, uint16_t *preference, char *host, size_t room)
{
	*preference = 0;
	if (room > 0)
		host[0] = 0;
	if (rdata.n < 3)
		return false;
	*preference = (uint16_t)((unsigned char)rdata.p[0] << 8 | (unsigned char)rdata.p[1]);
	return ga_dns_name((struct ga_str){ rdata.p + 2, rdata.n - 2 }, host, room);
}

bool ga_dns_address(struct ga_str rdata, unsigned rrtype, struct ga_sockaddr *a)
{
	memset(a, 0, sizeof(*a));
	if (rrtype == GA_DNS_A && rdata.n == 4) {
		struct sockaddr_in *in = (struct sockaddr_in *)(void *)&a->u.ss;

		in->sin_family = AF_INET;
		memcpy(&in->sin_addr, rdata.p, 4);
		a->len = sizeof(*in);
		return true;
	}
	if (rrtype == GA_DNS_AAAA && rdata.n == 16) {
		struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)(void *)&a->u.ss;

		in6->sin6_family = AF_INET6;
		memcpy(&in6->sin6_addr, rdata.p, 16);
		a->len = sizeof(*in6);
		return true;
	}
	return false;
}
