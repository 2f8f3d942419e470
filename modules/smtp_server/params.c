/*
 * params.c - the parameters of MAIL and RCPT, by table.
 *
 * Called by cmd_mail.c and cmd_rcpt.c.  One that is not in the table was never offered:
 * 555.  So is any after HELO, which offers none.
 */
#include "params.h"

static struct ga_str
param_size(const struct smtpd_session *s, struct smtpd_params *p, struct ga_str value)
{
	/* RFC 1870: up to 20 digits; what does not fit is larger than any limit */
	return value.n <= 20 && smtpd_number(value, &p->size) ? SMTPD_PARAM_OK : SMTPD_PARAM_WRONG;
}

static struct ga_str
param_body(const struct smtpd_session *s, struct smtpd_params *p, struct ga_str value)
{
	if (ga_str_caseeq(value, GA_STR("8BITMIME")))
		p->flags |= GA_MSG_BODY_8BITMIME;
	else if (ga_str_caseeq(value, GA_STR("BINARYMIME")))
		p->flags |= GA_MSG_BINARYMIME;
	else if (!ga_str_caseeq(value, GA_STR("7BIT")))
		return SMTPD_PARAM_WRONG;
	return SMTPD_PARAM_OK;
}

/* RFC 6531 3.4 (5): what 8BITMIME allows is implied. */
static struct ga_str
param_smtputf8(const struct smtpd_session *s, struct smtpd_params *p, struct ga_str value)
{
	p->flags |= GA_MSG_SMTPUTF8 | GA_MSG_BODY_8BITMIME;
	return value.n == 0 ? SMTPD_PARAM_OK : SMTPD_PARAM_WRONG;
}

/* RFC 8689 3 (4): only inside TLS; there alone it was offered. */
static struct ga_str
param_requiretls(const struct smtpd_session *s, struct smtpd_params *p, struct ga_str value)
{
	if (!s->tls)
		return GA_STR("530 5.7.0 REQUIRETLS needs TLS: say STARTTLS first\r\n");
	p->flags |= GA_MSG_REQUIRETLS;
	return value.n == 0 ? SMTPD_PARAM_OK : SMTPD_PARAM_WRONG;
}

struct known {
	struct ga_str key;
	smtpd_param_fn *take;
};

static const struct known of_mail[] = {
	{ GA_STR("SIZE"), param_size },
	{ GA_STR("BODY"), param_body },
	{ GA_STR("RET"), smtpd_param_ret },
	{ GA_STR("ENVID"), smtpd_param_envid },
	{ GA_STR("AUTH"), smtpd_param_auth },
	{ GA_STR("SMTPUTF8"), param_smtputf8 },
	{ GA_STR("REQUIRETLS"), param_requiretls },
};

static const struct known of_rcpt[] = {
	{ GA_STR("NOTIFY"), smtpd_param_notify },
	{ GA_STR("ORCPT"), smtpd_param_orcpt },
};

#define COUNT(table) (sizeof (table) / sizeof (table)[0])
_Static_assert(COUNT(of_mail) <= SMTPD_PARAMS_MAX && COUNT(of_rcpt) <= SMTPD_PARAMS_MAX, "room");

bool
smtpd_is_ascii(struct ga_str s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] >= 0x80)
			return false;
	return true;
}

static const struct known *
find(enum smtpd_params_of of, struct ga_str key)
{
	const struct known *table = of == SMTPD_OF_MAIL ? of_mail : of_rcpt;
	size_t n = of == SMTPD_OF_MAIL ? COUNT(of_mail) : COUNT(of_rcpt);

	for (size_t i = 0; i < n; i++)
		if (ga_str_caseeq(table[i].key, key))
			return &table[i];
	return NULL;
}

static bool
repeated(const struct smtpd_params *p, struct ga_str key)
{
	for (size_t i = 0; i < p->n; i++)
		if (ga_str_caseeq(p->all[i].key, key))
			return true;
	return false;
}

static struct ga_str
take(const struct smtpd_session *s, enum smtpd_params_of of, struct smtpd_params *p,
    const struct ga_param *one)
{
	const struct known *k = s->esmtp ? find(of, one->key) : NULL;

	if (k == NULL)
		return SMTPD_PARAM_UNKNOWN;
	if (repeated(p, one->key))
		return SMTPD_PARAM_WRONG;
	p->all[p->n++] = *one;
	return k->take(s, p, one->value);
}

bool
smtpd_take_params(struct smtpd_session *s, enum smtpd_params_of of, struct ga_str rest,
    struct smtpd_params *p)
{
	struct ga_param one;
	struct ga_str refusal;
	bool bad = false;

	while (ga_mail_param(&rest, &one, &bad)) {
		refusal = take(s, of, p, &one);
		if (refusal.n > 0) {
			smtpd_say_str(s, refusal);
			return false;
		}
	}
	if (bad)
		smtpd_say(s, "501 5.5.4 Syntax of a parameter: KEY or KEY=value");
	return !bad;
}

const struct ga_param *
smtpd_keep_params(const struct smtpd_params *from)
{
	struct ga_param *p = ga_alloc(from->pool, (from->n + 1) * sizeof *p);

	for (size_t i = 0; i < from->n; i++) {
		p[i].key = ga_dup(from->pool, from->all[i].key);
		p[i].value = ga_dup(from->pool, from->all[i].value);
	}
	return p;
}
