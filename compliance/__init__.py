"""Auditors: does what is there agree with what the ledger says?"""
