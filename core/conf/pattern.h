/*
 * pattern.h - names of domains and the patterns that `domain` blocks are made of
 *
 * Functions that parse return NULL, or the reason as the end of a sentence
 * that begins with the value: "`x` " + "is not ...".
 */
#ifndef GAC_CONF_PATTERN_H
#define GAC_CONF_PATTERN_H

#include <greenarrow/ga_mem.h>

enum gac_pattern_kind {
	GAC_PAT_EXACT,		/* example.com */
	GAC_PAT_BOTH,		/* [*.]example.com: it and all below */
	GAC_PAT_SUB,		/* *.example.com: only what is below */
	GAC_PAT_ANY		/* * */
};

struct gac_pattern {
	enum gac_pattern_kind kind;
	bool mx;		/* mx:... is about the names of the MX hosts */
	struct ga_str domain;	/* lower case, A-label; empty for * */
	struct ga_str text;	/* the pattern in its one spelling */
};

/* Lower case, A-label, no dot at the end. */
const char *gac_domain_normalize(struct ga_pool *, struct ga_str, struct ga_str *out);
const char *gac_pattern_parse(struct ga_pool *, struct ga_str, struct gac_pattern *);

#endif
