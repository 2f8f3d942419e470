/*
 * context.h - the blocks of greenarrow.conf and where each may stand
 */
#ifndef GAC_CONF_CONTEXT_H
#define GAC_CONF_CONTEXT_H

#include <greenarrow/ga_mem.h>

enum gac_context_id {
	GAC_CTX_TOP, GAC_CTX_GENERAL, GAC_CTX_SMTP_SERVICE, GAC_CTX_IP_ADDRESS, GAC_CTX_RELAY_SERVER,
	GAC_CTX_ROUTING_RULE, GAC_CTX_THROTTLE_TEMPLATE, GAC_CTX_RULE, GAC_CTX_THROTTLE_PROGRAM,
	GAC_CTX_DOMAIN, GAC_CTX_GREENARROW_PROXY, GAC_CTX_PROXY_SERVER, GAC_CTX_MODULE, GAC_NCONTEXTS
};

#define GAC_CTX_BIT(id) (1u << (id))

enum gac_context_arg {
	GAC_ARG_NONE,		/* general */
	GAC_ARG_NAME,		/* one name */
	GAC_ARG_NAMES,		/* names with commas between, or `*` */
	GAC_ARG_PATTERNS,	/* domain patterns with commas between */
	GAC_ARG_HOSTPORT,	/* one HOST:PORT */
	GAC_ARG_MODULE		/* the name of a loaded module */
};

struct gac_context {
	enum gac_context_id id;
	const char *name;
	enum gac_context_arg arg;
	const char *arg_help;	/* "NAME" */
	unsigned parents;	/* GAC_CTX_BIT()s */
	bool virtual_mta;	/* shares the one namespace of VirtualMTAs */
	bool bare;		/* may stand without a block */
};

extern const struct gac_context gac_contexts[GAC_NCONTEXTS];

/* NULL: no such context. */
const struct gac_context *gac_context_find(struct ga_str name);
/* "general, ip_address or domain" */
const char *gac_context_names(struct ga_pool *, unsigned bits);

#endif
