"""Bounced Emails: the bounces of each address."""
