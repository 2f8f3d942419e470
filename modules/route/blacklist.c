/*
 * blacklist.c - mx_blacklist: MX hosts and addresses that are never connected to.
 *
 * Names as they stand in MX records, `*.d` for all below d, addresses and networks.  Looked at
 * once a look-up, so the list is read as it is written.
 */
#include "route.h"

static bool
covers(struct ga_str item, struct ga_str name)
{
	if (item.n < 3 || item.p[0] != '*')
		return ga_str_caseeq(item, name);
	item = (struct ga_str){ item.p + 1, item.n - 1 };	/* ".d" */
	return name.n > item.n &&
	    ga_str_caseeq((struct ga_str){ name.p + (name.n - item.n), item.n }, item);
}

bool
rt_blacklisted_host(struct ga_strlist list, struct ga_str name)
{
	for (size_t i = 0; i < list.n; i++)
		if (covers(list.v[i], name))
			return true;
	return false;
}

bool
rt_blacklisted_address(struct ga_strlist list, const struct ga_sockaddr *address)
{
	struct ga_cidr net;

	for (size_t i = 0; i < list.n; i++)
		if (ga_cidr_parse(&net, list.v[i]) && ga_cidr_match(&net, address))
			return true;
	return false;
}
