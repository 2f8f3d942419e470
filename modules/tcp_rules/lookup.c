/*
 * lookup.c - see lookup.h.  Called by tcp_rules.c once a connection, on the session's loop.
 *
 * What tcpserver also looks for needs an answer of the client's machine (info@) or of the DNS (=host), and is
 * not looked for: nothing is asked before the greeting.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "lookup.h"

static bool
find(const struct tcpr_db *db, const char *key, size_t n, struct ga_str *data)
{
	return tcpr_db_find(db, (struct ga_str){ key, n }, data);
}

/* 192.0.2.1, 192.0.2., 192.0., 192. */
static bool
find_ipv4(const struct tcpr_db *db, char *key, struct ga_str *data)
{
	size_t n = strlen(key);

	while (n > 0 && !find(db, key, n, data)) {
		do
			n--;
		while (n > 0 && key[n - 1] != '.');
	}
	key[n] = '\0';
	return n > 0;
}

static bool
find_ipv6(const struct tcpr_db *db, struct in6_addr a, char *key, struct ga_str *data)
{
	if (inet_ntop(AF_INET6, &a, key, TCPR_KEY) != NULL && find(db, key, strlen(key), data))
		return true;
	for (unsigned bits = 128; bits-- > 0;) {
		a.s6_addr[bits / 8] &= (uint8_t)~(0x80 >> bits % 8);
		if (!tcpr_db_has_prefix(db, bits) || inet_ntop(AF_INET6, &a, key, TCPR_KEY) == NULL)
			continue;
		snprintf(key + strlen(key), TCPR_KEY - strlen(key), "/%u", bits);
		if (find(db, key, strlen(key), data))
			return true;
	}
	return false;
}

bool
tcpr_lookup(const struct tcpr_db *db, struct ga_str ip, char key[TCPR_KEY], struct ga_str *data)
{
	struct in6_addr a;
	bool found;

	snprintf(key, TCPR_KEY, "%.*s", (int)ip.n, ip.p);
	if (inet_pton(AF_INET6, key, &a) != 1)
		found = find_ipv4(db, key, data);
	else if (!IN6_IS_ADDR_V4MAPPED(&a))
		found = find_ipv6(db, a, key, data);
	else
		found = inet_ntop(AF_INET, &a.s6_addr[12], key, TCPR_KEY) != NULL && find_ipv4(db, key, data);
	if (found)
		return true;
	key[0] = '\0';
	return find(db, key, 0, data);
}
