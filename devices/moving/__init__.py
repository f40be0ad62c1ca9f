"""Devices that change hands by a person's decision: transfer, the inbox of unclaimed ones, and retiring."""
