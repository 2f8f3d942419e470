/*
 * explain.h - facts for `greenarrow explain`: why mail moves or does not.  Level strict.
 *
 * Services answer explain() questions with facts: plain sentences in the order of the
 * mail's way, each with a word for programs.  The module that asked prints them all; what
 * holds the mail is said by `holds`.
 */
#ifndef GREENARROW_SERVICE_EXPLAIN_H
#define GREENARROW_SERVICE_EXPLAIN_H

#include <json-c/json.h>

#include <greenarrow/mail.h>

GA_BEGIN

struct ga_fact {
	const char *what;	/* what it is about, stable: the directive's name where one
				   decides ("max_delivery_rate"), else a word like "backoff" */
	bool holds;		/* this keeps the mail from moving now */
	const char *where;	/* "file:line" of the setting; NULL or "": none */
	uint64_t until_ms;	/* wall clock: when that ends; 0: not known, or never */
};

/* Appends to an array of objects {"fact","holds","text","where","until"} (where and until
 * only if known; until as RFC 3339).  Not from two threads at once: an array goes from
 * loop to loop with the question. */
GA_EXPORT void ga_explain_say(struct json_object *facts, const struct ga_fact *,
    const char *fmt, ...) GA_PRINTF(3, 4);

GA_END

#endif
