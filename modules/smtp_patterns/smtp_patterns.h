/*
 * smtp_patterns.h - the module's directives, and one statement of them read.
 */
#ifndef SMTP_PATTERNS_H
#define SMTP_PATTERNS_H

#define GA_LEVEL GA_ABI_STRICT
#include <greenarrow/greenarrow.h>

#include <greenarrow/conf.h>

#define PAT_WHERE "general,ip_address,relay_server,domain"
#define SMTP_PATTERNS_DIRECTIVES(X)							\
X(table, smtp_pattern, "", "is=regex,any words=2- repeat", PAT_WHERE,			\
    "REGEX [result=success|deferral|failure] [backoff[=DURATION]] [pause[=DURATION]] [percent=N%] [key=mailfrom|from] [match_format=raw] [text=\"TEXT\"]: done when a reply matches") \
X(table, override_smtp_result, "", "is=regex,any words=2- repeat", PAT_WHERE,		\
    "REGEX success|deferral|failure [match_format=raw] [text=\"TEXT\"]: the result of an attempt whose reply matches") \
X(table, smtp_match_begin_backoff_mode, "", "is=regex,any repeat", PAT_WHERE,		\
    "REGEX [for=DURATION] [match_format=raw]: the throttle group goes into backoff when a reply matches") \
X(table, smtp_match_pause_domain, "", "is=regex,any repeat", PAT_WHERE,			\
    "REGEX [for=10m] [percent=100%] [key=mailfrom|from] [match_format=raw]: the sender's domain is paused for the recipient's when a reply matches")

GA_CONF_STRUCT(smtp_patterns_conf, SMTP_PATTERNS_DIRECTIVES);

/* The directives, in their order above. */
enum pat_kind { PAT_ALL, PAT_OVERRIDE, PAT_BACKOFF, PAT_PAUSE, PAT_KINDS };

/* One statement.  Its strings are the snapshot's. */
struct pat_rule {
	enum pat_kind kind;
	struct ga_str regex, text;	/* text "": the reply's stays */
	bool raw;			/* matched with the reply as it came */
	enum ga_verdict result;		/* PASS: none */
	bool backoff, pause;
	bool by_from;			/* pause: the domain of the From field, not of MAIL */
	uint64_t backoff_ms, pause_ms;	/* backoff 0: as the throttle does it */
	double percent;			/* pause: share of the attempts */
};

const char *pat_directive(enum pat_kind);
const struct ga_wordlists *pat_rows(const struct smtp_patterns_conf *, enum pat_kind);
/* NULL: fine; else the end of a sentence that begins with the word *bad. */
const char *pat_read(struct pat_rule *, enum pat_kind, const struct ga_strlist *words, size_t *bad);
/* All scopes of the snapshot; what is wrong goes to diag, with its place. */
bool pat_check(struct ga_snapshot *, struct ga_diag *);

#endif
