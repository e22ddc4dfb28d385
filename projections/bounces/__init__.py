"""Bounced Emails: what each address bounced."""
