/*
 * lookup.h - which rule is a client's.
 */
#ifndef TCPR_LOOKUP_H
#define TCPR_LOOKUP_H

#include <netinet/in.h>

#include "database.h"

/* An IPv6 network and its bits, with a NUL. */
#define TCPR_KEY (INET6_ADDRSTRLEN + 4)

/*
 * The one rule that holds for a client, in tcpserver's order: its address, shorter and shorter prefixes
 * of it, the empty address.  Prefixes end with a dot; those of an IPv6 address are networks, the longest
 * first.  ip: as text, empty when nobody knows it; an IPv4-mapped IPv6 address is IPv4.
 * False: there is none.  key: the rule's address; data lives as long as the database.  Any thread.
 */
bool tcpr_lookup(const struct tcpr_db *, struct ga_str ip, char key[TCPR_KEY], struct ga_str *data);

#endif
