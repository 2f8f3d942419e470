/*
 * context.c - the blocks of greenarrow.conf and where each may stand
 *
 * A table, read by the checker, the schema reader and the manual.  A new kind
 * of block is a new row (and a name in ga_conf.h's list of contexts).
 */
#include "conf/context.h"

#define TOP GAC_CTX_BIT(GAC_CTX_TOP)

const struct gac_context gac_contexts[GAC_NCONTEXTS] = {
	{ GAC_CTX_TOP, "top", GAC_ARG_NONE, "", 0, false, false },
	{ GAC_CTX_GENERAL, "general", GAC_ARG_NONE, "", TOP, false, false },
	{ GAC_CTX_SMTP_SERVICE, "smtp_service", GAC_ARG_NAME, "NAME", TOP, false, false },
	{ GAC_CTX_IP_ADDRESS, "ip_address", GAC_ARG_NAMES, "NAME[,NAME...] | *", TOP, true, false },
	{ GAC_CTX_RELAY_SERVER, "relay_server", GAC_ARG_NAME, "NAME", TOP, true, false },
	{ GAC_CTX_ROUTING_RULE, "routing_rule", GAC_ARG_NAME, "NAME", TOP, true, false },
	{ GAC_CTX_THROTTLE_TEMPLATE, "throttle_template", GAC_ARG_NAME, "NAME", TOP, false, false },
	{ GAC_CTX_RULE, "rule", GAC_ARG_NAME, "NAME", GAC_CTX_BIT(GAC_CTX_THROTTLE_TEMPLATE), false, false },
	{ GAC_CTX_THROTTLE_PROGRAM, "throttle_program", GAC_ARG_NAME, "NAME", TOP, false, false },
	{ GAC_CTX_DOMAIN, "domain", GAC_ARG_PATTERNS, "PATTERN[,PATTERN...]",
	    TOP | GAC_CTX_BIT(GAC_CTX_IP_ADDRESS) | GAC_CTX_BIT(GAC_CTX_RELAY_SERVER) |
	    GAC_CTX_BIT(GAC_CTX_ROUTING_RULE) | GAC_CTX_BIT(GAC_CTX_THROTTLE_TEMPLATE), false, false },
	{ GAC_CTX_GREENARROW_PROXY, "greenarrow_proxy", GAC_ARG_NAME, "NAME", TOP, false, false },
	{ GAC_CTX_PROXY_SERVER, "proxy_server", GAC_ARG_HOSTPORT, "HOST:PORT",
	    TOP | GAC_CTX_BIT(GAC_CTX_IP_ADDRESS), false, true },
	{ GAC_CTX_MODULE, "module", GAC_ARG_MODULE, "NAME", TOP, false, false },
};

const struct gac_context *gac_context_find(struct ga_str name)
{
	for (int i = GAC_CTX_TOP + 1; i < GAC_NCONTEXTS; i++)
		if (ga_str_eq(name, ga_str_c(gac_contexts[i].name)))
			return &gac_contexts[i];
	return NULL;
}

const char *gac_context_names(struct ga_pool *pool, unsigned bits)
{
	struct ga_str s = GA_STR("");
	unsigned left = 0;

	for (int i = 0; i < GAC_NCONTEXTS; i++)
		left += (bits & GAC_CTX_BIT(i)) != 0;
	for (int i = 0; i < GAC_NCONTEXTS; i++) {
		if ((bits & GAC_CTX_BIT(i)) == 0)
			continue;
		left--;
		s = ga_fmt(pool, "%.*s%s%s", (int)s.n, s.p,
		    i == GAC_CTX_TOP ? "the top level" : gac_contexts[i].name,
		    left == 0 ? "" : left == 1 ? " or " : ", ");
	}
	return ga_dup(pool, s).p;
}
