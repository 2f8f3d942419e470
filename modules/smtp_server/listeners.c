/*
 * listeners.c - see listeners.h.  Called by access.c.
 */
#include <string.h>
#include <unistd.h>

#include <greenarrow/net.h>

#include "listeners.h"

static bool
is_one_of(struct ga_str s, const char *const *words)
{
	for (; *words != NULL; words++)
		if (ga_str_caseeq(s, ga_str_c(*words)))
			return true;
	return false;
}

static bool
take_number(const struct smtpd_variable *v, unsigned min, unsigned max, unsigned *n)
{
	uint64_t value = 0;

	if (v->value.n == 0 || v->value.n > 7)
		return false;
	for (size_t i = 0; i < v->value.n; i++) {
		if (v->value.p[i] < '0' || v->value.p[i] > '9')
			return false;
		value = value * 10 + (unsigned)(v->value.p[i] - '0');
	}
	*n = (unsigned)value;
	return value >= min && value <= max;
}

static bool
take_enabled(const struct smtpd_variable *v, bool *enabled)
{
	static const char *const yes[] = { "1", "yes", "true", "on", NULL };
	static const char *const no[] = { "", "0", "no", "false", "off", NULL };

	*enabled = is_one_of(v->value, yes);
	return *enabled || is_one_of(v->value, no);
}

/* --- addresses --- */

static struct ga_str
with_port(struct ga_pool *pool, struct ga_sockaddr a, unsigned port)
{
	char text[GA_SOCKADDR_TEXT];

	ga_sockaddr_set_port(&a, (uint16_t)port);
	return ga_dup(pool, ga_str_c(ga_sockaddr_text(&a, true, text)));
}

/* Every address of this machine; no IPv6 where the kernel has none. */
static size_t
all_addresses(struct ga_sockaddr *to)
{
	size_t n = ga_sockaddr_parse(&to[0], GA_STR("0.0.0.0"), 0);

	if (access("/proc/net/if_inet6", R_OK) == 0)
		n += ga_sockaddr_parse(&to[n], GA_STR("[::]"), 0);
	return n;
}

/* The addresses that are meant, and the port of the first one written. */
static size_t
addresses(struct ga_pool *pool, const struct smtpd_listeners *l, const struct smtpd_variable *ip,
    struct ga_sockaddr **v, unsigned *port)
{
	size_t n = 0;

	*v = ga_alloc(pool, (l->plain.n + 2) * sizeof **v);
	for (size_t i = 0; i < l->plain.n; i++)
		n += ga_sockaddr_parse(&(*v)[n], l->plain.v[i], 0);
	*port = n > 0 ? ga_sockaddr_port(&(*v)[0]) : 0;
	if (ip == NULL)
		return n > 0 ? n : all_addresses(*v);
	if (ga_str_eq(ip->value, GA_STR("0")))
		return all_addresses(*v);
	return ga_sockaddr_parse(&(*v)[0], ip->value, 0) && ga_sockaddr_port(&(*v)[0]) == 0;
}

static const char *
make_addresses(struct smtpd_listeners *l, struct ga_pool *pool, const struct smtpd_variable *ip,
    const struct smtpd_variable *port_set, unsigned port)
{
	struct ga_sockaddr *a;
	struct ga_str *items;
	unsigned written;
	size_t n = addresses(pool, l, ip, &a, &written);

	if (n == 0)
		return "IPADDR is an address, or 0 for all";
	if (port_set == NULL && written == 0)
		return "PORT is missing: the service has no listen to take it from";
	items = ga_alloc(pool, n * sizeof *items);
	for (size_t i = 0; i < n; i++)
		items[i] = with_port(pool, a[i], port_set != NULL ? port : ga_sockaddr_port(&a[i]) != 0 ?
		    ga_sockaddr_port(&a[i]) : written);
	l->plain = (struct ga_strlist){ items, n };
	return NULL;
}

bool
smtpd_listeners_override(struct smtpd_listeners *l, struct ga_pool *pool,
    const struct smtpd_environment *e, smtpd_fault_fn *fault, void *arg)
{
	const struct smtpd_variable *enabled = smtpd_environment_get(e, "ENABLED");
	const struct smtpd_variable *port_set = smtpd_environment_get(e, "PORT");
	const struct smtpd_variable *ip = smtpd_environment_get(e, "IPADDR");
	const struct smtpd_variable *many = smtpd_environment_get(e, "CONCURRENCY"), *at = NULL;
	const char *why = NULL;
	unsigned port = 0;

	if (enabled != NULL && !take_enabled(enabled, &l->enabled)) {
		at = enabled;
		why = "ENABLED is 1 or 0";
	} else if (many != NULL && !take_number(many, 1, 1000000, &l->max_connections)) {
		at = many;
		why = "CONCURRENCY is a number from 1 to 1000000";
	} else if (port_set != NULL && !take_number(port_set, 0, 65535, &port)) {
		at = port_set;
		why = "PORT is a number from 0 to 65535";
	} else if (port_set != NULL && port == 0) {
		l->enabled = false;
	} else if (port_set != NULL || ip != NULL) {
		at = ip != NULL ? ip : port_set;
		why = make_addresses(l, pool, ip, port_set, port);
	}
	if (why != NULL)
		fault(arg, at->line, at->column, true, why);
	if (!l->enabled)
		l->plain = l->tls = (struct ga_strlist){ NULL, 0 };
	return why == NULL;
}
