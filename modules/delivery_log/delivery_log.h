/*
 * delivery_log.h - what the files of delivery_log share: directives, an attempt, formats.
 *
 *	delivery_log.c	the module: directories, the hook, which format
 *	hvmail.c	tab separated columns; the same columns as JSON
 *	csv.c		as the accounting files of PowerMTA
 *	kumo.c		as the JSON log of KumoMTA
 *	headers.c	chosen header fields as a JSON object
 *	line.c		pure: text, numbers and times, put one behind the other into a line
 */
#ifndef DELIVERY_LOG_DELIVERY_LOG_H
#define DELIVERY_LOG_DELIVERY_LOG_H

#define GA_LEVEL GA_ABI_STRICT
#include <greenarrow/greenarrow.h>

#include <greenarrow/run.h>

#include "line.h"

#define DL_WHERE "general,ip_address,relay_server,domain"
#define DELIVERY_LOG_DIRECTIVES(X)							\
X(choice, delivery_log_format, "hvmail", "oneof=hvmail|json|csv|kumo", "general",	\
    "How delivery logs are written: columns with tabs between, the same as JSON, as PowerMTA or as KumoMTA does") \
X(list, delivery_log_headers, "", "", DL_WHERE,						\
    "Header fields that delivery logs show; costs a look at the header for each attempt")

GA_CONF_STRUCT(delivery_log_conf, DELIVERY_LOG_DIRECTIVES);

/* What a line is about. */
struct dl_attempt {
	const struct ga_ev_attempt *ev;
	const struct ga_message *m;	/* NULL: it could not be read */
	const struct ga_envelope *e;	/* NULL likewise */
	uint64_t now_us;		/* wall clock */
	struct ga_str headers;		/* a JSON object; "" = none were asked for or known */
};

/* hvmail.c */
void dl_hvmail(struct dl_line *, const struct dl_attempt *);
void dl_json(struct dl_line *, const struct dl_attempt *);
/* csv.c */
void dl_csv(struct dl_line *, const struct dl_attempt *);
extern const char dl_csv_header[];
const char *dl_bounce_category(const struct ga_ev_attempt *);
/* kumo.c */
void dl_kumo(struct dl_line *, const struct dl_attempt *);

/* headers.c: the fields of these names, as far as they have room. */
#define DL_HEADERS_MAX 12288u
void dl_headers(struct dl_line *, const struct ga_message *, struct ga_strlist names);

#endif
