"""Is a map faithful, stable, concentrated, well placed?"""
