/*
 * params.h - what follows the path of MAIL and RCPT (RFC 5321 4.1.2).
 */
#ifndef SMTPD_PARAMS_H
#define SMTPD_PARAMS_H

#include "session.h"

/* As many as there are; a repeated one is refused before it would need room. */
#define SMTPD_PARAMS_MAX 8u

struct smtpd_params {
	struct ga_pool *pool;		/* of the transaction: values that are decoded live there */
	bool utf8;			/* values may be UTF-8 (RFC 6531) */
	/* what they said */
	uint64_t size;			/* 0: not given */
	uint32_t flags;			/* enum ga_msg_flag */
	struct ga_str ret, envid;	/* "FULL", "HDRS"; empty: not given */
	struct ga_str orcpt;		/* "type;address", decoded */
	uint32_t notify;		/* enum ga_notify */
	/* as written, in the line */
	struct ga_param all[SMTPD_PARAMS_MAX];
	size_t n;
};

enum smtpd_params_of { SMTPD_OF_MAIL, SMTPD_OF_RCPT };

/* Reads all of rest; false: a refusal has been said. */
bool smtpd_take_params(struct smtpd_session *, enum smtpd_params_of, struct ga_str rest,
    struct smtpd_params *);
/* They for a hook, which may think longer than the line lives. */
const struct ga_param *smtpd_keep_params(const struct smtpd_params *);

bool smtpd_is_ascii(struct ga_str);

/* One parameter's value (empty: none was given); the refusal, or an empty string. */
typedef struct ga_str smtpd_param_fn(const struct smtpd_session *, struct smtpd_params *,
    struct ga_str value);
#define SMTPD_PARAM_OK ((struct ga_str){ "", 0 })
#define SMTPD_PARAM_UNKNOWN GA_STR("555 5.5.4 Parameter not known\r\n")
#define SMTPD_PARAM_WRONG GA_STR("501 5.5.4 Parameter has a wrong value or is repeated\r\n")

/* dsn.c (RFC 3461) */
smtpd_param_fn smtpd_param_ret, smtpd_param_envid, smtpd_param_notify, smtpd_param_orcpt;
/* cmd_auth.c (RFC 4954 5): checked, and not passed on */
smtpd_param_fn smtpd_param_auth;

#endif
